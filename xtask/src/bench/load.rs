//! The load: as many threads as connections, each sending its next event when the last one is answered.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};

/// As in the figures that results are compared with.
const VISITORS: u64 = 20_000;

/// As in the figures that results are compared with.
const BODY_BYTES: usize = 1024;

/// An answer that takes longer is a hanging server.
const ANSWER_AT_MOST: Duration = Duration::from_secs(30);

/// A browser's: others are counted as bots and not stored.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// What to send, and where.
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) pixel: String,
    pub(super) connections: u32,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Outcome {
    /// From the end of the warm-up to the last answer.
    pub(super) lasted: Duration,
    /// Answered 200 after the warm-up.
    pub(super) accepted: usize,
    /// Answered 200 at any time.
    pub(super) accepted_with_warm_up: usize,
    /// Answered with another status after the warm-up: a 204 was taken for a bot and is not stored.
    pub(super) refused: BTreeMap<u16, usize>,
    /// Of every answer after the warm-up, ascending.
    pub(super) latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that `percent` of the answers did not exceed; zero where there was none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.accepted_with_warm_up += other.accepted_with_warm_up;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.latencies.extend(other.latencies);
    }
}

impl Load {
    /// Sends for `warm_up` and then, counting, for `counted`.
    ///
    /// # Errors
    /// A connection fails or an answer is no HTTP; the whole run is void then.
    pub(super) fn drive(&self, warm_up: Duration, counted: Duration) -> Result<Outcome> {
        let next_event = AtomicU64::new(0);
        let counted_from = Instant::now() + warm_up;
        let until = counted_from + counted;
        let mut outcome = Outcome::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections)
                .map(|_connection| scope.spawn(|| self.connection(&next_event, counted_from, until)))
                .collect();
            for thread in threads {
                let part = thread.join().map_err(|_panic| anyhow!("a connection's thread panicked"))??;
                outcome.add(part);
            }
            anyhow::Ok(())
        })?;
        outcome.lasted = counted_from.elapsed();
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    fn connection(&self, next_event: &AtomicU64, counted_from: Instant, until: Instant) -> Result<Outcome> {
        let mut stream = TcpStream::connect(self.address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_AT_MOST))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut outcome = Outcome::default();
        loop {
            let request = self.request(next_event.fetch_add(1, Ordering::Relaxed));
            let sent = Instant::now();
            if sent >= until {
                return Ok(outcome);
            }
            stream.write_all(request.as_bytes()).context("sending")?;
            let status = read_answer(&mut answers)?;
            outcome.accepted_with_warm_up += usize::from(status == 200);
            if sent < counted_from {
                continue;
            }
            outcome.latencies.push(sent.elapsed());
            if status == 200 {
                outcome.accepted += 1;
            } else {
                *outcome.refused.entry(status).or_default() += 1;
            }
        }
    }

    fn request(&self, number: u64) -> String {
        let body = body(&self.pixel, number, unix_millis());
        format!(
            "POST /api/track HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\n\
             Origin: https://bench.example\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        )
    }
}

/// Event ids carry the time at which they were drawn, as browsers' do.
#[expect(clippy::disallowed_methods, reason = "this is the client, whose clock is the machine's")]
fn unix_millis() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or_default()
}

/// A page view of one of the visitors, filled up to the agreed size.
fn body(pixel: &str, number: u64, millis: u64) -> String {
    let visitor = number % VISITORS;
    // A UUIDv7: 48 bits of time, version, and the number where random bits belong.
    let event = format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
        millis >> 16,
        millis & 0xffff,
        (number >> 12) & 0xfff,
        number & 0xfff,
        number,
    );
    let head = format!(
        "{{\"pixel_id\":\"{pixel}\",\"visitor_cookie\":\"bench-visitor-{visitor:06}\",\"event_id\":\"{event}\",\
         \"event_type\":\"page_view\",\"page_url\":\"https://bench.example/page/{}?utm_source=newsletter&\
         utm_medium=email&utm_campaign=launch-{}\",\"referrer_url\":\"https://www.example.org/\",\
         \"page_title\":\"Page {}\",\"language\":\"en-GB\",\"viewport\":{{\"width\":1280,\"height\":720}},\
         \"screen\":{{\"width\":1920,\"height\":1080}},\"ignored\":\"",
        number % 100,
        number % 10,
        number % 100,
    );
    let filling = BODY_BYTES.saturating_sub(head.len() + 2);
    format!("{head}{}\"}}", "x".repeat(filling))
}

/// Reads one answer to its end; its status.
fn read_answer(answers: &mut impl BufRead) -> Result<u16> {
    let mut line = String::new();
    answers.read_line(&mut line).context("waiting for an answer")?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status else { bail!("`{}` is no answer in HTTP", line.trim()) };
    let mut length = 0_usize;
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            bail!("the server closed the connection within an answer");
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { bail!("`{header}` is no header") };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().with_context(|| header.to_owned())?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer has no length ({header})");
        }
    }
    while length > 0 {
        let available = answers.fill_buf()?.len().min(length);
        if available == 0 {
            bail!("the server closed the connection within an answer");
        }
        answers.consume(available);
        length -= available;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::Cursor;

    #[test]
    fn a_body_is_json_of_the_agreed_size_with_an_id_of_version_7() {
        let body = body("pixel-1", 20_003, 0x0123_4567_89ab);
        assert_eq!(body.len(), BODY_BYTES);
        let json: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["event_id"], "01234567-89ab-7004-8e23-000000004e23");
        assert_eq!(json["visitor_cookie"], "bench-visitor-000003");
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let two = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbodyHTTP/1.1 204 No Content\r\n\r\n";
        let mut answers = Cursor::new(two);
        assert_eq!(read_answer(&mut answers).unwrap(), 200);
        assert_eq!(read_answer(&mut answers).unwrap(), 204);
        assert!(read_answer(&mut answers).is_err());
    }

    /// Answers as told, in turn, to every request of one connection.
    fn fake_server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _client) = listener.accept().unwrap();
            let mut requests = BufReader::new(stream.try_clone().unwrap());
            for answer in answers.iter().cycle() {
                let mut head = String::new();
                while requests.read_line(&mut head).unwrap() > 2 {}
                if head.is_empty() {
                    return;
                }
                std::io::Read::read_exact(&mut requests, &mut [0; BODY_BYTES]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_closed_loop_tells_what_was_accepted_from_what_was_refused() {
        let address = fake_server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n",
        ]);
        let load = Load { address, pixel: "pixel-1".to_owned(), connections: 1 };
        let outcome = load.drive(Duration::ZERO, Duration::from_millis(50)).unwrap();
        let refused = outcome.refused.get(&503).copied().unwrap_or_default();
        assert!(
            outcome.accepted > 0 && outcome.accepted - refused <= 1,
            "{} and {refused}",
            outcome.accepted
        );
        assert_eq!(outcome.latencies.len(), outcome.accepted + refused);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latencies = (1..=200).map(Duration::from_millis).collect();
        let outcome = Outcome { latencies, ..Outcome::default() };
        let expected = [(50, 100), (99, 198), (100, 200)];
        for (percent, millis) in expected {
            assert_eq!(outcome.percentile(percent), Duration::from_millis(millis));
        }
        assert_eq!(Outcome::default().percentile(50), Duration::ZERO);
    }
}
