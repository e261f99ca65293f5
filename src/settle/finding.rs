//! What was found, and what to do about it.

use super::{Belief, Entry, Line};

/// One finding: what, of which entry, of which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub what: What,
    /// The entry of our book; with [`What::MissingHere`], the operation that the line seems to be about.
    pub ours: Option<Entry>,
    /// The line of the statement.
    pub line: Option<Line>,
}

/// How an entry and a line stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Both say the same.
    Matched,
    /// One operation moved money more than once at the gateway, or the statement has a line twice.
    Twice,
    /// Money moved at the gateway, and our book does not know it.
    MissingHere,
    /// Our book says that money moved, and the statement does not have it.
    MissingThere,
    /// The same operation, another amount.
    AmountDiffers,
    /// The same operation, another currency.
    CurrencyDiffers,
    /// The same operation, another kind.
    KindDiffers,
    /// Declined or canceled here, and money moved there.
    DeniedHere,
    /// Not known here, and money moved there: a strong hint.
    UndecidedHere,
    /// Not known here, and not on the statement: no hint of anything by itself.
    Unconfirmed,
    /// So late that one side may not have it yet.
    TooRecent,
    /// So early that an earlier statement may have it.
    TooEarly,
    /// A line that the window does not cover, of no operation that we know.
    Outside,
    /// A line that moves no money: an authorization or a void.
    NoMovement,
}

impl What {
    /// Every one, in the order of a report.
    pub const ALL: [What; 14] = [
        What::Matched,
        What::Twice,
        What::MissingHere,
        What::MissingThere,
        What::AmountDiffers,
        What::CurrencyDiffers,
        What::KindDiffers,
        What::DeniedHere,
        What::UndecidedHere,
        What::Unconfirmed,
        What::TooRecent,
        What::TooEarly,
        What::Outside,
        What::NoMovement,
    ];

    /// As in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Matched => "matched",
            What::Twice => "twice",
            What::MissingHere => "missing_here",
            What::MissingThere => "missing_there",
            What::AmountDiffers => "amount_differs",
            What::CurrencyDiffers => "currency_differs",
            What::KindDiffers => "kind_differs",
            What::DeniedHere => "denied_here",
            What::UndecidedHere => "undecided_here",
            What::Unconfirmed => "unconfirmed",
            What::TooRecent => "too_recent",
            What::TooEarly => "too_early",
            What::Outside => "outside",
            What::NoMovement => "no_movement",
        }
    }

    /// Whether book and statement contradict each other, or only the statement knows.
    pub const fn is_difference(self) -> bool {
        match self {
            What::Twice
            | What::MissingHere
            | What::MissingThere
            | What::AmountDiffers
            | What::CurrencyDiffers
            | What::KindDiffers
            | What::DeniedHere
            | What::UndecidedHere => true,
            What::Matched | What::Unconfirmed | What::TooRecent | What::TooEarly | What::Outside | What::NoMovement => {
                false
            }
        }
    }

    /// Whether there may be as many as there are lines, and nothing to say of any: they are counted, not kept.
    pub const fn is_only_counted(self) -> bool {
        matches!(self, What::Matched | What::Outside | What::NoMovement)
    }

    /// What it means, for everybody, where there is nothing to do about a single one.
    pub const fn meaning(self) -> &'static str {
        match self {
            What::Matched => "the same here and there",
            What::Twice => "moved more than once there",
            What::MissingHere => "moved there, unknown here",
            What::MissingThere => "moved here, not on the statement",
            What::AmountDiffers => "another amount there",
            What::CurrencyDiffers => "another currency there",
            What::KindDiffers => "of another kind there",
            What::DeniedHere => "declined or canceled here, moved there",
            What::UndecidedHere => "in doubt here, moved there",
            What::Unconfirmed => "in doubt here, not on the statement",
            What::TooRecent => "too close to the end of the statement or to now: settle it with the next statement",
            What::TooEarly => "too close to the start of the statement: settle it with an earlier --from",
            What::Outside => "lines out of the window, of operations unknown here",
            What::NoMovement => "lines of authorizations and voids: they move no money",
        }
    }
}

impl Finding {
    /// What to do next, in one line.
    pub fn next(&self) -> String {
        match self.what {
            What::Twice => {
                "compare the references: the same one is a line given twice, another one is money moved twice: refund it"
                    .to_owned()
            }
            What::MissingHere => self.next_of_missing_here(),
            What::MissingThere => {
                let show = self.show();
                format!("{show}; is the statement complete, and of this account? else ask the gateway by the key")
            }
            What::AmountDiffers | What::CurrencyDiffers | What::KindDiffers => {
                format!("{}; then ask the gateway which is true", self.show())
            }
            What::DeniedHere => {
                format!("{}; the payer was told no and has paid: refund it, or deliver", self.show())
            }
            What::UndecidedHere => self.resolve(),
            What::Unconfirmed => format!("{}; it goes on being asked about; absence alone proves nothing", self.show()),
            What::Matched | What::TooRecent | What::TooEarly | What::Outside | What::NoMovement => {
                self.what.meaning().to_owned()
            }
        }
    }

    fn next_of_missing_here(&self) -> String {
        match self.ours {
            Some(_) => format!("{}; this was done to it in the gateway's own dashboard, or is a dispute", self.show()),
            None => "made in the gateway's own dashboard, by another installation, or our journal lost it: ask who did"
                .to_owned(),
        }
    }

    fn show(&self) -> String {
        self.ours.map_or_else(String::new, |ours| format!("payonce show {}", ours.payment))
    }

    /// The command that ends the doubt by this line.
    fn resolve(&self) -> String {
        let (Some(ours), Some(line)) = (self.ours, &self.line) else { return self.show() };
        let reference = line.reference.as_deref().filter(|reference| is_plain(reference));
        let reference = reference.map_or_else(String::new, |reference| format!(" --gateway-reference {reference}"));
        format!(
            "payonce resolve {} --operation {} --as succeeded --actor YOU --reason 'on the statement'{reference}",
            ours.payment, ours.number
        )
    }

    /// How much our book says moved, where it says so.
    pub fn belief(&self) -> Option<Belief> {
        self.ours.map(|ours| ours.belief)
    }
}

/// Whether a text of the gateway's can be pasted into a shell.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}
