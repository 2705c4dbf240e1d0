//! The closed choices of a policy, each with its names.

use std::fmt;

/// An enum whose variants have a name in the policy document.
pub(super) trait Choice: Sized + Copy + 'static {
    /// Every variant.
    const ALL: &'static [Self];
    /// The name in a document.
    fn name(self) -> &'static str;
}

macro_rules! choice {
    (
        $(#[$doc:meta])*
        $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }
    ) => {
        $(#[$doc])*
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// The name in a policy document.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name,)+ }
            }

            /// The variant of that name.
            pub fn parse(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)+ _ => None }
            }
        }

        impl Choice for $type {
            const ALL: &'static [Self] = &[$($type::$variant,)+];
            fn name(self) -> &'static str {
                self.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

choice!(
    /// Where a policy stands in the evaluation order, which is the order of the variants.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    Level {
        /// Refuses what it meets; counts nothing.
        Deny = "deny",
        /// A whole API.
        Api = "api",
        /// A resource of an API.
        Resource = "resource",
        /// A subscription, burst control included.
        Subscription = "subscription",
        /// An application.
        Application = "application",
        /// Anything else that the operator thought of.
        Custom = "custom",
        /// Protects the backend, whoever calls.
        Backend = "backend",
    }
);

choice!(
    /// Whether a policy acts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    Mode {
        /// Counts and refuses.
        #[default]
        Enforce = "enforce",
        /// Counts and reports what it would have refused.
        Shadow = "shadow",
        /// Does nothing.
        Off = "off",
    }
);

choice!(
    /// What happens to a request over the limit.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    OnLimit {
        /// It is refused.
        #[default]
        Reject = "reject",
        /// It passes, but is counted and reported.
        Allow = "allow",
    }
);

choice!(
    /// What an agent does that reaches no manager.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    OnDisconnect {
        /// Lets everything pass.
        Open = "open",
        /// Refuses everything that the policy meets.
        Closed = "closed",
        /// Spends its grant, then its share of the fleet's limit.
        Local = "local",
    }
);

choice!(
    /// How exactly a limit is held.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    Accuracy {
        /// Chosen by limit and fleet size.
        #[default]
        Auto = "auto",
        /// Never above the limit, at the price of refusing early.
        Strict = "strict",
        /// Close to the limit from both sides.
        Balanced = "balanced",
    }
);
