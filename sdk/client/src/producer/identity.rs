//! Who a producer is to the brokers.

use brooklet_types::{ProducerEpoch, ProducerId};
use brooklet_wire::message::{InitProducerIdRequest, make};

use super::window::Identity;
use crate::client::Client;
use crate::error::{ApiError, Code};
use crate::request::Call;

/// Asks for an identity. Any broker can give one.
pub(crate) async fn init_producer_id(client: &Client) -> Result<Identity, ApiError> {
    let connection = client.any().await?;
    let request = make::<InitProducerIdRequest>(|request| {
        // The schema has no default for it, and an empty one is an error.
        request.transactional_id = None;
        request.transaction_timeout_ms = i32::MAX;
    });
    let response = connection.call(&request).await?;
    let peer = connection.peer().clone();
    let (api, subject) = (InitProducerIdRequest::API, "a new producer".to_owned());
    if let Err(code) = Code(response.error_code).check() {
        return Err(ApiError::Refused { peer, api, subject, code, message: None });
    }
    let id = ProducerId::from_wire(response.producer_id);
    let epoch = u16::try_from(response.producer_epoch).ok().map(ProducerEpoch);
    let identity = id.zip(epoch).map(|(id, epoch)| Identity { id, epoch });
    identity.ok_or(ApiError::Incomplete { peer, api, subject })
}
