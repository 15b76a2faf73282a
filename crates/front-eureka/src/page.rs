//! `GET /`: a page for people, with the applications and how their instances are, as Eureka's servers
//! have one.
//!
//! It is plain: no script, no address that an instance names is made a link. What is in it, clients
//! wrote, so every sign that means something to a browser is escaped.

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::failure::Failure;
use crate::front::Front;
use crate::limits::PAGE_INSTANCES_MAX;
use crate::reply::{self, Reply};
use crate::request::Request;
use crate::view::View;
use crate::word::Word;

const BEGIN: &str = "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>muster: \
    applications</title><style>body{font-family:sans-serif;margin:2em}td,th{text-align:left;\
    vertical-align:top;padding:.3em 1em;border-bottom:1px solid #ccc}</style></head><body>";

impl Front {
    /// The page.
    pub(crate) async fn tell_people(&self, request: &Request) -> Result<Reply, Failure> {
        let view = self.roll().view(&request.call()).await?;
        let mut reply = reply::bare(http::StatusCode::OK);
        *reply.body_mut() = page(&view).into_bytes().into();
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        Ok(reply)
    }
}

fn page(view: &View) -> String {
    let mut out = String::from(BEGIN);
    out.push_str("<h1>Applications</h1><table><tr><th>Application</th><th>Status</th></tr>");
    let mut n_left = PAGE_INSTANCES_MAX;
    for (app, instances) in view.all() {
        out.push_str(&format!("<tr><td>{}</td><td>", escaped(&app.to_uppercase())));
        for word in Word::ALL.into_iter().rev() {
            let alike = instances.iter().filter(|(entry, _)| entry.word() == word);
            let n_alike = alike.clone().count();
            if n_alike == 0 {
                continue;
            }
            let shown: Vec<String> = alike.take(n_left).map(|(own, _)| escaped(own.id())).collect();
            n_left -= shown.len();
            let rest = if shown.len() < n_alike { ", …" } else { "" };
            out.push_str(&format!("{} ({n_alike}): {}{rest}<br>", word.as_str(), shown.join(", ")));
        }
        out.push_str("</td></tr>");
    }
    out.push_str("</table></body></html>");
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            sign => out.push(sign),
        }
    }
    out
}
