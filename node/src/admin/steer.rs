//! Where a client would go, and where an address is: the functions that DNS answers with, for people.

use crate::config::client_network;
use crate::dns::{self, Catalog};

use super::api::{GeoAnswer, RouteReport};
use super::control::Control;
use super::error::AdminError;

impl Control {
    /// Every node in the order in which this client would be sent there.
    pub(super) fn route(
        &self,
        client: &str,
        host: Option<&str>,
    ) -> Result<RouteReport, AdminError> {
        let network = client_network(client).map_err(AdminError::Malformed)?;
        // People ask seldom: the tables are made for the question, and are those of the view in force.
        let catalog = Catalog::compile(self.parts.views.load());
        let healthy = self.parts.healthy.load();
        Ok(dns::route(
            &catalog,
            &healthy,
            &self.parts.atlas,
            network,
            host,
        ))
    }

    /// Where an address is.
    pub(super) fn geo(&self, client: &str) -> Result<GeoAnswer, AdminError> {
        let network = client_network(client).map_err(AdminError::Malformed)?;
        Ok(GeoAnswer {
            address: client.to_owned(),
            place: dns::locate(&self.parts.atlas, network.addr()),
            databases: self.parts.atlas.description(),
        })
    }
}
