//! The five services: their names, their ports, their routes, and how they are served.

use super::shop::Shop;
use super::{gateway, inventory, notify, order, risk};
use crate::exit::ExpectedError;
use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt;
use ripcord::{Ctx, CtxExt};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// One of the services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    Gateway,
    Order,
    Inventory,
    Risk,
    Notify,
}

impl Service {
    pub(super) const ALL: [Self; 5] = [
        Self::Gateway,
        Self::Order,
        Self::Inventory,
        Self::Risk,
        Self::Notify,
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Risk => "risk",
            Self::Notify => "notify",
        }
    }

    /// The path of the one thing that the service does.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Gateway => gateway::PATH,
            Self::Order => order::PATH,
            Self::Inventory => inventory::PATH,
            Self::Risk => risk::PATH,
            Self::Notify => notify::PATH,
        }
    }

    fn router(self, shop: Arc<Shop>) -> Router {
        let handler = match self {
            Self::Gateway => post(gateway::handle),
            Self::Order => post(order::handle),
            Self::Inventory => post(inventory::handle),
            Self::Risk => post(risk::handle),
            Self::Notify => post(notify::handle),
        };
        Router::new().route(self.path(), handler).with_state(shop)
    }
}

/// The name of the tasks that accept connections.
pub(super) const SERVE: &str = "accept connections";

/// The services' listeners, bound and not yet served.
#[derive(Debug)]
pub(super) struct Topology {
    listeners: Vec<TcpListener>,
    pub(super) addresses: [SocketAddr; Service::ALL.len()],
}

impl Topology {
    /// Binds the gateway to `port` of the loopback, the others to ports that are free.
    ///
    /// # Errors
    /// The port is taken or not allowed.
    pub(super) async fn bind(port: u16) -> Result<Self, ExpectedError> {
        let mut listeners = Vec::new();
        let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); Service::ALL.len()];
        addresses[Service::Gateway.index()].set_port(port);
        for address in &mut addresses {
            let wanted = *address;
            let failed = |error| ExpectedError::Address {
                address: wanted,
                error,
            };
            let listener = TcpListener::bind(wanted).await.map_err(failed)?;
            *address = listener.local_addr().map_err(failed)?;
            listeners.push(listener);
        }
        Ok(Self {
            listeners,
            addresses,
        })
    }

    /// Serves until the root drains (the gateway) or is done (the services behind it, which
    /// the gateway's last requests still need).
    pub(super) fn serve(self, shop: &Arc<Shop>) {
        for (service, listener) in Service::ALL.into_iter().zip(self.listeners) {
            let router = service.router(Arc::clone(shop));
            let accept = move |ctx: Ctx| async move {
                let listener = listener.tap_io(|stream| {
                    // Only costs latency if it fails.
                    let _ = stream.set_nodelay(true);
                });
                let until = async move {
                    if service == Service::Gateway {
                        ctx.draining().await;
                    } else {
                        ctx.done().await;
                    }
                };
                // It goes on after errors of single connections and returns none of its own.
                let served = axum::serve(listener, router).with_graceful_shutdown(until);
                drop(served.await);
            };
            drop(shop.root.spawn(SERVE, accept));
        }
    }
}
