//! Whether the addresses are free, before anything is started.

use std::{io::ErrorKind, net::TcpListener};

use anyhow::bail;

/// Fails with the name of every address that another program has.
pub(crate) fn require_free(addresses: &[(&str, String)]) -> anyhow::Result<()> {
    let taken: Vec<String> = addresses
        .iter()
        .filter(|(_, address)| {
            // What else may be wrong, the program itself tells better.
            TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        })
        .map(|(part, address)| format!("  {address} ({part})"))
        .collect();
    if taken.is_empty() {
        return Ok(());
    }
    bail!(
        "another program listens where the quickstart wants to:\n{}\n\
         Is a quickstart running already? `ss -ltnp` shows who it is.",
        taken.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_named_with_its_part() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let error = require_free(&[("tm-1", address.clone())]).unwrap_err().to_string();
        assert!(error.contains(&format!("{address} (tm-1)")), "{error}");
        drop(socket);
        assert!(require_free(&[("tm-1", address)]).is_ok());
    }
}
