//! Envelope: a client's request that another broker brings to the controller (KIP-590).
//!
//! **Decides** whether this broker is the controller. Who the client is, the other broker has found out; what it may do is looked
//! at here, as for every client.

use std::sync::{Arc, Mutex, OnceLock};

use brooklet_auth::Principal;
use brooklet_types::ErrorCode;
use brooklet_wire::frame;
use brooklet_wire::message::{EnvelopeRequest, EnvelopeResponse};
use brooklet_wire::version::{Api, Audience};

use crate::connection::Answer;
use crate::context::{Call, Peer};
use crate::router;
use crate::throttle::Muted;
use crate::translate::peer::envelope::{self, Forwarded, Returned};

/// Answers Envelope.
pub(crate) async fn handle(call: &Call, request: EnvelopeRequest) -> EnvelopeResponse {
    let forwarded = match envelope::asked(&request) {
        Ok(forwarded) => forwarded,
        Err(error) => {
            tracing::warn!(%error, "request brought by another broker");
            return envelope::answer(Err(error.code()));
        }
    };
    if call.context.peers.as_ref().is_none_or(|peers| peers.other_controller().is_some()) {
        return envelope::answer(Err(ErrorCode::NotController));
    }
    match carry_out(call, forwarded).await {
        Ok(returned) => envelope::answer(Ok(&returned)),
        Err(code) => envelope::answer(Err(code)),
    }
}

async fn carry_out(call: &Call, forwarded: Forwarded) -> Result<Returned, ErrorCode> {
    let Forwarded { request, principal, host } = forwarded;
    let principal = Principal::parse(&principal);
    let principal = principal.ok_or(ErrorCode::PrincipalDeserializationFailure)?;
    let mut body = request.clone();
    let header = frame::parse_header(&mut body).map_err(|_| ErrorCode::InvalidRequest)?;
    let api = Api::from_wire(header.api).filter(|api| api.is_served_to(Audience::Everybody));
    let api = api.filter(|api| api.serves(header.version));
    let api = api.ok_or(ErrorCode::UnsupportedVersion)?;
    let identity = OnceLock::new();
    identity.get_or_init(|| principal);
    let peer = Peer {
        local: call.peer.local,
        remote: (host, 0).into(),
        host: host.to_string(),
        identity,
        // It was brought here, and is not brought on.
        broker: call.peer.broker,
        muted: Muted::default(),
        listener: call.peer.listener,
        advertised: None,
        proved: None,
        rules: Mutex::default(),
        buffers: Mutex::default(),
    };
    let call = Call {
        context: Arc::clone(&call.context),
        peer: Arc::new(peer),
        api,
        version: header.version,
        client_id: header.client_id.clone(),
        // Whoever has the client makes it wait.
        is_metered: false,
    };
    let answered = Box::pin(router::answer(&call, &header, request.len(), body)).await;
    let Ok(Answer::Reply(pieces)) = answered else { return Err(ErrorCode::InvalidRequest) };
    let response = brooklet_wire::message::Bytes::from(pieces.concat());
    // The other broker writes the length again.
    let response = response.slice(4.min(response.len())..);
    Ok(Returned { response, version: Some(call.cluster().version()) })
}
