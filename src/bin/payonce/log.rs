//! What is told of itself while it runs: lines on standard error, and spans to a collector.

mod otlp;

use std::io::IsTerminal;

use clap::ValueEnum;
use payonce::config::ConfigError;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt};

pub(crate) use otlp::Exporter;

/// The flags about it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct LogArgs {
    /// What is logged, such as info, or warn,payonce=debug [default: warn]
    #[arg(long, value_name = "FILTER", env = "PAYONCE_LOG")]
    log: Option<String>,
    /// How: a line for people, a few lines for their eyes, or an object of JSON a line
    #[arg(long, value_name = "FORMAT", env = "PAYONCE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: Format,
    /// Where the spans of payments go: a collector's OTLP over HTTP, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    otlp: Option<String>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Pretty,
    Json,
}

impl LogArgs {
    /// For commands that have none of these flags.
    pub(crate) fn of_environment() -> LogArgs {
        LogArgs { log: std::env::var("PAYONCE_LOG").ok(), ..LogArgs::default() }
    }

    /// Tells from now on, where nothing else is said, of this level; and spans for as long as what is returned lives.
    pub(crate) fn start(&self, usual: LevelFilter) -> Result<Option<Exporter>, ConfigError> {
        let (exporter, spans) =
            self.otlp.as_deref().filter(|url| !url.is_empty()).map(otlp::start).transpose()?.unzip();
        tracing_subscriber::registry().with(spans).with(self.lines(usual)).init();
        Ok(exporter)
    }

    fn lines<S>(&self, usual: LevelFilter) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = EnvFilter::builder()
            .with_default_directive(usual.into())
            .parse_lossy(self.log.as_deref().unwrap_or_default());
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match self.log_format {
            Format::Text => lines.boxed(),
            Format::Pretty => lines.pretty().boxed(),
            Format::Json => lines.json().boxed(),
        };
        lines.with_filter(filter)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn at_the_usual_level_no_span_is_made() {
        let enabled = |log: Option<&str>| {
            let args = LogArgs { log: log.map(str::to_owned), ..LogArgs::default() };
            let spans: Option<otlp::Spans> = None;
            let subscriber = tracing_subscriber::registry().with(spans).with(args.lines(LevelFilter::WARN));
            tracing::subscriber::with_default(subscriber, || {
                let made = tracing::info_span!("request").is_disabled();
                (LevelFilter::current() >= LevelFilter::INFO, tracing::enabled!(Level::WARN), !made)
            })
        };
        assert_eq!(enabled(None), (false, true, false), "known without asking anybody");
        assert_eq!(enabled(Some("info")), (true, true, true));
    }
}
