//! The certificate and key of connections with TLS: read at start and whenever SIGHUP comes.

use super::StartError;
use crate::config::Config;
use crate::connection::tls::Certificates;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where they are.
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    /// As the flags name them, if they do.
    pub fn of(config: &Config) -> Option<Self> {
        Some(Self { certificate: config.tls_cert.clone()?, key: config.tls_key.clone()? })
    }

    /// Reads them for the first time.
    pub fn load(&self) -> Result<Arc<Certificates>, StartError> {
        let certificates = Certificates::new(&read(&self.certificate)?, &read(&self.key)?);
        certificates.map(Arc::new).map_err(|why| self.refused(why))
    }

    /// Reads them again. What cannot be used is logged, and the old ones stay.
    pub fn reload(&self, certificates: &Certificates) {
        let replaced = || {
            let (chain, key) = (read(&self.certificate)?, read(&self.key)?);
            certificates.replace(&chain, &key).map_err(|why| self.refused(why))
        };
        match replaced() {
            Ok(()) => tracing::info!(certificate = %self.certificate.display(), "certificate reloaded"),
            Err(error) => tracing::error!(%error, "the certificate stays as it is: the new one cannot be used"),
        }
    }

    fn refused(&self, why: String) -> StartError {
        StartError::Tls(self.certificate.clone(), self.key.clone(), why)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|error| StartError::File(path.to_owned(), error.to_string()))
}
