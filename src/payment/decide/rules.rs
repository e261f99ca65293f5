//! What holds for every decision: the gateway's contract and bytes, our schedule, and what becomes of money that moved late.
//!
//! Knows nothing of payments, and decides nothing.

use std::{fmt, sync::Arc};

use crate::payment::{Asked, Contract, Invalid, Namespace, Schedule};

/// What holds for every decision.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The gateway's side.
    pub contract: Contract,
    /// Our side.
    pub schedule: Schedule,
    /// What goes into operation keys besides.
    pub namespace: Namespace,
    /// Whether anything may be sent: not from a copied folder.
    pub sending: bool,
    /// Whether this process found its folder copied or restored: what it takes up may have gone on elsewhere since.
    pub restored: bool,
    /// How the gateway's adapter puts an operation into bytes.
    pub encoder: Encoder,
    /// What becomes of money that has moved although a caller was told, or wished, that it would not.
    pub policies: Policies,
}

impl Rules {
    /// The rules of a folder of its own, with the default schedule and policies.
    pub fn new(contract: Contract, encoder: Encoder) -> Rules {
        Rules {
            contract,
            schedule: Schedule::default(),
            namespace: Namespace::default(),
            sending: true,
            restored: false,
            encoder,
            policies: Policies::default(),
        }
    }
}

/// Puts an operation into the exact bytes that its gateway is sent, or says why that cannot be done. Pure: the same
/// operation always gives the same bytes.
#[derive(Clone)]
pub struct Encoder(Arc<Encode>);

type Encode = dyn Fn(&Asked<'_>) -> Result<Vec<u8>, Invalid> + Send + Sync;

impl Encoder {
    /// The adapter's function.
    pub fn new(encode: impl Fn(&Asked<'_>) -> Result<Vec<u8>, Invalid> + Send + Sync + 'static) -> Encoder {
        Encoder(Arc::new(encode))
    }

    /// One line of text, for where nothing is really sent.
    pub fn plain() -> Encoder {
        Encoder::new(|asked| {
            let Asked { kind, operation_key, amount, order, .. } = asked;
            Ok(format!("{} {operation_key} {amount} {}", kind.as_str(), order.currency).into_bytes())
        })
    }

    pub(super) fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        (self.0)(asked)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

/// What becomes of money that has moved although a caller was told, or wished, that it would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// After it was told declined or canceled.
    pub late_success: Late,
    /// After a void that came too late.
    pub late_void: Late,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies {
            // Nobody asked for it back, and by now the goods may have been sent on other evidence: a person looks.
            late_success: Late::Adopt,
            // The caller has asked for it.
            late_void: Late::Refund,
        }
    }
}

/// What to do about money that moved late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It stays where it is, and is shown.
    Adopt,
    /// It goes back, by one operation of our own.
    Refund,
}
