//! A name for an entry that nobody named.
//!
//! In: the address of the server. Out: which names a client accepts ([`super::Client`]), whether
//! the name is taken ([`super::edit`]).

use url::{Host, Url};

/// Longest name that is made up, in characters.
const LONGEST: usize = 40;

/// Labels that say what a host is for and not whose it is.
const GENERIC: [&str; 10] = [
    "api", "app", "gateway", "mcp", "remote", "server", "servers", "sse", "web", "www",
];

/// Second-level labels under which countries register names, such as `co.uk`.
const SECOND_LEVEL: [&str; 10] = [
    "ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org",
];

/// Hosts that belong to a product of another name.
const PRODUCTS: [(&str, &str); 2] = [("githubcopilot", "github"), ("googleapis", "google")];

/// Names under which a hosting service gives each customer one of its own: those of the private
/// part of the Public Suffix List (<https://publicsuffix.org>) that MCP servers are commonly on.
const HOSTING: [&str; 20] = [
    "azure-api.net",
    "azurecontainerapps.io",
    "azurewebsites.net",
    "cloudfront.net",
    "deno.dev",
    "fly.dev",
    "herokuapp.com",
    "hf.space",
    "modal.run",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.app",
    "ngrok.io",
    "onrender.com",
    "pages.dev",
    "railway.app",
    "run.app",
    "trycloudflare.com",
    "vercel.app",
    "workers.dev",
];

/// A short name from the host: `https://mcp.example.com/mcp` becomes `example`, a server on this
/// machine `local-PORT`. Lower-case ASCII letters, digits and dashes, never empty.
#[must_use]
pub fn name_for(url: &Url) -> String {
    let name = match url.host() {
        Some(Host::Domain("localhost")) => local(url),
        Some(Host::Ipv4(address)) if address.is_loopback() => local(url),
        Some(Host::Ipv6(address)) if address.is_loopback() => local(url),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(domain)) => from_domain(domain),
        None => String::new(),
    };
    let name: String = tidy(&name).chars().take(LONGEST).collect();
    match name.trim_matches('-') {
        "" => "remote".to_owned(),
        name => name.to_owned(),
    }
}

fn local(url: &Url) -> String {
    url.port()
        .map_or_else(|| "local".to_owned(), |port| format!("local-{port}"))
}

/// Whose host it is, then what tells it from others of the same owner.
fn from_domain(domain: &str) -> String {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let of_customer = HOSTING.iter().find_map(|service| {
        let rest = domain.strip_suffix(service)?.strip_suffix('.')?;
        Some(rest.to_owned())
    });
    let private = of_customer.unwrap_or_else(|| without_suffix(&domain));
    let mut labels: Vec<&str> = private.split('.').collect();
    let label = labels.pop().unwrap_or_default();
    let known = PRODUCTS.iter().find(|(host, _)| *host == label);
    let owner = known.map_or(label, |(_, product)| product);
    labels.retain(|label| !GENERIC.contains(label));
    std::iter::once(owner)
        .chain(labels)
        .collect::<Vec<_>>()
        .join("-")
}

/// The domain without the part under which anybody can have a name.
fn without_suffix(domain: &str) -> String {
    let Some((rest, last)) = domain.rsplit_once('.') else {
        return domain.to_owned();
    };
    match rest.rsplit_once('.') {
        Some((owned, second)) if last.len() == 2 && SECOND_LEVEL.contains(&second) => {
            owned.to_owned()
        }
        _ => rest.to_owned(),
    }
}

/// Everything but letters and digits becomes a dash, and never two of them.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            tidied.push(letter.to_ascii_lowercase());
        } else if !tidied.is_empty() && !tidied.ends_with('-') {
            tidied.push('-');
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_host() {
        for (url, expected) in [
            ("https://mcp.example.com/mcp", "example"),
            ("https://example.com", "example"),
            ("https://www.example.co.uk/sse", "example"),
            ("https://mcp.linear.app/sse", "linear"),
            ("https://docs.mcp.cloudflare.com/sse", "cloudflare-docs"),
            ("https://api.githubcopilot.com/mcp/", "github"),
            ("https://my-server.acme.workers.dev/mcp", "acme-my-server"),
            ("https://weather.fly.dev/mcp", "weather"),
            ("https://mcp.eu.example.com/", "example-eu"),
            ("http://localhost:3000/mcp", "local-3000"),
            ("http://localhost/mcp", "local"),
            ("http://127.0.0.1:8080/", "local-8080"),
            ("http://[::1]:9/", "local-9"),
            ("https://192.168.1.10/mcp", "192-168-1-10"),
            ("https://[2001:db8::7]/mcp", "2001-db8-7"),
            ("https://intranet/mcp", "intranet"),
            ("https://müller.example/mcp", "xn-mller-kva"),
            ("https://workers.dev/mcp", "workers"),
            ("https://example.com./mcp", "example"),
        ] {
            let name = name_for(&Url::parse(url).unwrap());
            assert_eq!(name, expected, "{url}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        let label = "a".repeat(60);
        for url in [
            format!("https://{label}.com/"),
            format!("https://x.{}-.example", "b".repeat(39)),
            "https://_._/".to_owned(),
        ] {
            let name = name_for(&Url::parse(&url).unwrap());
            let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
            assert!((1..=LONGEST).contains(&name.len()), "{name}");
            assert!(name.chars().all(plain), "{name}");
            assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
        }
    }
}
