//! Whether the agent's certificate is valid at a time: managers refuse one that is not, so that
//! `check-config` must say so first.

use x509_cert::{Certificate, der::Decode};

use super::{AccessFiles, certificates};

impl AccessFiles {
    /// Whether the certificate, if there is one, is valid then, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// It is not, or cannot be read, in words.
    pub(crate) fn valid_at(&self, now: u64) -> Result<(), String> {
        let Some((file, _)) = &self.identity else { return Ok(()) };
        let fail = |why: String| format!("tls.cert: {} {why}", file.display());
        let chain = certificates("tls.cert", file)?;
        let own = chain.first().and_then(|own| Certificate::from_der(own).ok());
        let own = own.ok_or_else(|| fail("holds no X.509 certificate".to_owned()))?;
        let validity = own.tbs_certificate().validity();
        if validity.not_after.to_unix_duration().as_secs() < now {
            let end = validity.not_after.to_date_time();
            return Err(fail(format!("ended at {end}; managers refuse it: renew it")));
        }
        if validity.not_before.to_unix_duration().as_secs() > now {
            let begin = validity.not_before.to_date_time();
            return Err(fail(format!("is valid from {begin} on; is this machine's clock right?")));
        }
        Ok(())
    }
}
