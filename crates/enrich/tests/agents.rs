//! User agents taken by hand from devices, vendors' pages and logs. None of them is among the 2,118 samples that come
//! with the list of bots (version 1.60.0).

use leadtrail_domain::event::Client;
use leadtrail_domain::ports::{Enrich as _, RequestFacts};
use leadtrail_enrich::Knowledge;

fn read(knowledge: &Knowledge, agent: &str) -> Client {
    knowledge.enrich(&RequestFacts { ip: None, user_agent: Some(agent) })
}

/// Reads each, and shows all that differ at once.
fn assert_people(table: &[(&str, &str, &str, &str)]) {
    let knowledge = Knowledge::new(None);
    let mut wrong = Vec::new();
    for (browser, system, device, agent) in table {
        let client = read(&knowledge, agent);
        let found =
            [&client.browser, &client.operating_system, &client.device_type].map(|part| part.as_deref());
        if found != [Some(*browser), Some(*system), Some(*device)] || client.bot.is_some() {
            wrong.push(format!("{agent}\n  {found:?} {:?}, not {browser} {system} {device}", client.bot));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn browsers_are_known_by_their_names_and_not_by_those_they_borrow() {
    assert_people(&[
        (
            "Edge",
            "Windows",
            "desktop",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.3595.53",
        ),
        (
            "Edge",
            "Android",
            "mobile",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36 EdgA/141.0.0.0",
        ),
        (
            "Chrome",
            "macOS",
            "desktop",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        (
            "Chrome",
            "Android",
            "mobile",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Chrome",
            "iOS",
            "mobile",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.46 Mobile/15E148 Safari/604.1",
        ),
        (
            "Chrome",
            "Chrome OS",
            "desktop",
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        ),
        (
            "Safari",
            "macOS",
            "desktop",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
        ),
        (
            "Safari",
            "iOS",
            "mobile",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
        ),
        (
            "Firefox",
            "Windows",
            "desktop",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
        ),
        (
            "Firefox",
            "Linux",
            "desktop",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "Firefox",
            "Android",
            "mobile",
            "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
        ),
        (
            "Samsung Internet",
            "Android",
            "mobile",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Opera",
            "Windows",
            "desktop",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0",
        ),
        (
            "Vivaldi",
            "Linux",
            "desktop",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Vivaldi/7.6.3797.63",
        ),
        (
            "Yandex Browser",
            "Windows",
            "desktop",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 YaBrowser/25.10.0.0 Safari/537.36",
        ),
    ]);
}

#[test]
fn tablets_televisions_and_consoles_are_neither_phones_nor_desktops() {
    assert_people(&[
        (
            "Safari",
            "iOS",
            "tablet",
            "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        ),
        (
            "Chrome",
            "iOS",
            "tablet",
            "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.7390.96 Mobile/15E148 Safari/604.1",
        ),
        (
            "Chrome",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        ),
        (
            "Chrome",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 13; Lenovo TB-J606F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        ),
        (
            "Chrome",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 15; Pixel Tablet) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        (
            "Samsung Internet",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 12; SAMSUNG SM-T870) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Safari/537.36",
        ),
        (
            "Amazon Silk",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 11; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/138.3.6 like Chrome/138.0.7204.180 Safari/537.36",
        ),
        (
            "Firefox",
            "Android",
            "tablet",
            "Mozilla/5.0 (Android 13; Tablet; rv:144.0) Gecko/144.0 Firefox/144.0",
        ),
        (
            "Chrome",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 12; HUAWEI MRX-W09) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36",
        ),
        (
            "Chrome",
            "Android",
            "tablet",
            "Mozilla/5.0 (Linux; Android 14; 23073RPBFG) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        ),
    ]);
    let knowledge = Knowledge::new(None);
    for (device, agent) in [
        (
            "tv",
            "Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) 94.0.4606.31/7.0 TV Safari/537.36",
        ),
        (
            "tv",
            "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.5359.211 Safari/537.36 WebAppManager",
        ),
        (
            "tv",
            "Mozilla/5.0 (Linux; Android 9; AFTKA) AppleWebKit/537.36 (KHTML, like Gecko) Silk/112.5.1 like Chrome/112.0.5615.213 Safari/537.36",
        ),
        (
            "console",
            "Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 Safari/605.1.15",
        ),
        (
            "console",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/115.0.0.0 Safari/537.36 Edge/44.18363.8131",
        ),
        ("desktop", "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko"),
    ] {
        assert_eq!(read(&knowledge, agent).device_type.as_deref(), Some(device), "{agent}");
        assert_eq!(read(&knowledge, agent).bot, None, "{agent}");
    }
}

const IN_APP: [&str; 14] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/22F76 Instagram 390.0.0.28.85 (iPhone15,4; iOS 18_5; de_DE; de; scale=3.00; 1179x2556; 772033155)",
    "Mozilla/5.0 (Linux; Android 14; SM-S911B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/137.0.7151.115 Mobile Safari/537.36 Instagram 385.0.0.47.74 Android (34/14; 480dpi; 1080x2106; samsung; SM-S911B; dm1q; qcom; en_GB; 757105543)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/518.0.0.52.100;FBBV/756351453;FBDV/iPhone14,7;FBMD/iPhone;FBSN/iOS;FBSV/18.5;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]",
    "Mozilla/5.0 (Linux; Android 13; Pixel 6 Build/TQ3A.230805.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/136.0.7103.60 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/512.0.0.66.73;IABMV/1;]",
    "Mozilla/5.0 (Linux; Android 15; SM-A556B Build/AP3A.240905.015.A2; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/141.0.7390.122 Mobile Safari/537.36 MetaIAB Facebook",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.31.1020",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/138.0.7204.63 Mobile Safari/537.36 LinkedInApp",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari Line/15.8.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.58(0x18003a2c) NetType/WIFI Language/zh_CN",
    "Mozilla/5.0 (Linux; Android 12; M2102J2SC Build/SKQ1.211006.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 XWEB/1160117 MMWEBSDK/20240404 MicroMessenger/8.0.49.2600 WeChat/arm64 Weixin NetType/4G Language/zh_CN",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Snapchat/13.46.0.41 (like Safari/8621.2.5.10.10, panda)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 musical_ly_40.3.0 BytedanceWebview/d8a21c6 ByteLocale/en",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/373.0.774158310 Mobile/15E148 Safari/604.1",
];

const CUBOT: [&str; 10] = [
    "Mozilla/5.0 (Linux; Android 8.0.0; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/96.0.4664.45 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/121.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_P30 Build/PPR1.180610.011; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/90.0.4430.210 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 7.0; CUBOT_NOTE_S Build/NRD90M) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.116 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 6.0; CUBOT CHEETAH 2 Build/MRA58K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.99 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 11; KINGKONG 5 Pro; CUBOT) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; U; Android 5.1; en-us; CUBOT X15 Build/LMY47D) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
    "Mozilla/5.0 (Linux; Android 12; CUBOT MAX 3) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_J5) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0.4844.73 Mobile Safari/537.36 OPR/68.3.3557.64528",
    "Mozilla/5.0 (Linux; Android 13; CUBOT P80 Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.6367.179 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/464.0.0.60.85;]",
];

#[test]
fn browsers_inside_apps_and_phones_of_cubot_are_people_on_phones() {
    let knowledge = Knowledge::new(None);
    for agent in IN_APP.iter().chain(&CUBOT) {
        let client = read(&knowledge, agent);
        assert_eq!(client.bot, None, "{agent}");
        assert_eq!(client.device_type.as_deref(), Some("mobile"), "{agent}");
        assert!(matches!(client.operating_system.as_deref(), Some("iOS" | "Android")), "{agent}: {client:?}");
    }
}

#[test]
fn bots_are_known_by_the_list_or_by_what_such_programs_say() {
    let knowledge = Knowledge::new(None);
    for (agent, reason) in [
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.122 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot/",
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)",
            "GPTBot",
        ),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "facebookexternalhit"),
        ("curl/8.14.1", "^curl"),
        ("python-requests/2.32.5", "python-requests"),
        ("WhatsApp/2.23.20.0", "WhatsApp"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
            "HeadlessChrome",
        ),
        ("Mozilla/5.0 (compatible; AcmeShopWatchBot/0.3; ops@acme.example)", "names itself a bot"),
        ("acme_price_crawler 1.0", "names itself a bot"),
        ("Mozilla/5.0 (compatible; NoListKnowsMe/1.0; +https://nolist.example/about)", "names its operator"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 AcmeWebDriver/1.56",
            "browser automation",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessShiny/9.0 Safari/537.36", "headless browser"),
        ("reqwest/0.13.5", "one product only"),
        ("undici", "one product only"),
        ("acmefetch/1.0", "one product only"),
    ] {
        let client = read(&knowledge, agent);
        assert!(
            client.bot.as_deref().is_some_and(|found| found.contains(reason)),
            "{agent}: {:?}, not `{reason}`",
            client.bot
        );
        assert_eq!(client.device_type.as_deref(), Some("bot"), "{agent}");
    }
}

#[test]
fn programs_that_the_list_does_not_know_are_bots_all_the_same() {
    let knowledge = Knowledge::new(None);
    for (agent, reason) in [
        ("PostmanRuntime/7.43.0", "one product only"),
        ("GuzzleHttp/7", "one product only"),
        ("RestSharp/106.11.7.0", "one product only"),
        ("Bun/1.1.30", "one product only"),
        ("Deno/2.0.0", "one product only"),
        ("hackney/1.18.1", "one product only"),
        ("Dart/3.5 (dart:io)", "one product only"),
        ("kube-probe/1.29", "one product only"),
        ("ELB-HealthChecker/2.0", "one product only"),
        ("aria2/1.36.0", "one product only"),
        ("Prometheus/2.50.1", "one product only"),
        ("libcurl-agent/1.0", "one product only"),
        ("resty/2.11.0 (https://github.com/go-resty/resty)", "names its operator"),
        ("HTTP_Request2/2.5.1 (http://pear.php.net/package/http_request2) PHP/8.1.2", "names its operator"),
        ("k6/0.49.0 (https://k6.io/)", "names its operator"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Cypress/13.6.0 Chrome/114.0.5735.289 Electron/25.8.4 Safari/537.36",
            "browser automation",
        ),
    ] {
        let bot = read(&knowledge, agent).bot;
        assert_eq!(bot.as_deref(), Some(reason), "{agent}");
    }
}

#[test]
fn old_browsers_and_cut_user_agents_are_people() {
    let knowledge = Knowledge::new(None);
    for agent in [
        "Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.8",
        "Links (2.29; Linux 6.1.0 x86_64; GNU C 12.2; text)",
        "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/191.340; U; en) Presto/2.12.423 Version/12.16",
        "Nokia6300/2.0 (07.21) Profile/MIDP-2.0 Configuration/CLDC-1.1 (compatible)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)",
    ] {
        assert_eq!(read(&knowledge, agent).bot, None, "{agent}");
    }
}
