//! The services: their names, their ports, their routes, and how they are served.

use super::shop::Shop;
use super::{entrance, gateway, inventory, notify, order, photos, risk, rpc, tax};
use crate::exit::ExpectedError;
use axum::Router;
use axum::routing::{MethodRouter, post};
use ripcord::CtxExt;
use ripcord_http::{HttpLayer, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// One of the services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    Gateway,
    Order,
    Inventory,
    Risk,
    Notify,
    Tax,
}

impl Service {
    pub(super) const ALL: [Self; 6] = [
        Self::Gateway,
        Self::Order,
        Self::Inventory,
        Self::Risk,
        Self::Notify,
        Self::Tax,
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
            Self::Tax => "tax",
        }
    }

    /// The path of the one thing that the service does in an order.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Gateway => gateway::PATH,
            Self::Order => order::PATH,
            Self::Inventory => inventory::PATH,
            Self::Risk => risk::PATH,
            Self::Notify => notify::PATH,
            Self::Tax => tax::PATH,
        }
    }

    /// What a request for this path is called, if the service has it.
    pub(super) fn route(self, path: &str) -> Option<&'static str> {
        ROUTES
            .into_iter()
            .find_map(|(service, known, route)| (service == self && known == path).then_some(route))
    }

    /// A service behind the gateway, whose callers are believed.
    fn behind(self, shop: &Arc<Shop>, handler: MethodRouter<Arc<Shop>>) -> Router {
        let layer = HttpLayer::new(&shop.inside, entrance::colleague());
        Router::new()
            .route(self.path(), handler)
            .with_state(Arc::clone(shop))
            .layer(layer.observer(shop.observer(self)))
    }

    /// Serves until the root drains (the gateway) or is done (the services behind it).
    ///
    /// # Errors
    /// Why it cannot, as far as that is known.
    async fn serve(self, shop: Arc<Shop>, listener: TcpListener) -> Result<(), String> {
        let (inside, router) = match self {
            Self::Inventory => {
                let served = rpc::serve::<inventory::Reserve>(shop, listener, GRACE);
                return served.await.map_err(|error| error.to_string());
            }
            Self::Risk => {
                let served = rpc::serve::<risk::Score>(shop, listener, GRACE);
                return served.await.map_err(|error| error.to_string());
            }
            Self::Tax => {
                let until = shop.inside.clone();
                let router = Router::new().route(tax::PATH, post(tax::handle));
                let served = axum::serve(listener, router.with_state(shop))
                    .with_graceful_shutdown(async move { drop(until.done().await) });
                return served.await.map_err(|error| error.to_string());
            }
            Self::Gateway => (&shop.root, gateway::router(&shop)),
            Self::Order => (&shop.inside, self.behind(&shop, post(order::handle))),
            Self::Notify => (&shop.inside, self.behind(&shop, post(notify::handle))),
        };
        let report = Server::new(inside).grace(GRACE).serve(listener, router);
        let report = report.await.map_err(|error| error.to_string())?;
        shop.tally.connections(self, report);
        Ok(())
    }
}

/// Every route: of whom, its path, what it is called; in the order of a request's way.
pub(super) const ROUTES: [(Service, &str, &str); 8] = [
    (Service::Gateway, gateway::PATH, "POST /checkout"),
    (
        Service::Gateway,
        gateway::PATH_PARTNER,
        "POST /partner/checkout",
    ),
    (Service::Gateway, photos::PATH, "PUT /photos"),
    (Service::Order, order::PATH, "POST /orders"),
    (Service::Inventory, inventory::PATH, inventory::PATH),
    (Service::Risk, risk::PATH, risk::PATH),
    (Service::Notify, notify::PATH, "POST /receipts"),
    (Service::Tax, tax::PATH, "POST /tax"),
];

/// Whether a context of this name is that of a request: the layer names it by its route.
pub(super) fn is_request(name: &str) -> bool {
    ROUTES.iter().any(|(.., route)| *route == name)
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

    /// Serves them all.
    pub(super) fn serve(self, shop: &Arc<Shop>) {
        for (service, listener) in Service::ALL.into_iter().zip(self.listeners) {
            let to = Arc::clone(shop);
            drop(shop.root.spawn(SERVE, |_| async move {
                let served = service.serve(Arc::clone(&to), listener).await;
                if let Err(error) = served {
                    to.tally.not_served(service, error);
                }
            }));
        }
    }
}

/// Connections that are not over so long after the end of their server are cut off.
const GRACE: Duration = Duration::from_millis(500);
