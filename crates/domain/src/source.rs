//! Which sites are search engines, social networks, video and shopping sites, AI assistants and web mailers, by their
//! hosts and by the names people give them in `utm_source`. A list of facts of our own: a new site is one row here.
//!
//! Its sources, read in November 2026: the source categories that Google lists for GA4's default channel group
//! (Analytics Help, "Default channel group"), each service's own address, and the package names under which the Play
//! Store carries their apps (referrers such as `android-app://com.google.android.gm/`). Only names and addresses are
//! taken; which category a site belongs to follows from what it is. GA4 has no published list of AI assistants; ours is
//! of those that send a referrer of their own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::web_url::site_of;

/// What a site is, as far as channels care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Category {
    /// A search engine.
    Search,
    /// A social network, forum or messenger.
    Social,
    /// A site for video.
    Video,
    /// A shop of many sellers, or a comparison of prices.
    Shopping,
    /// An assistant that answers in words.
    AiAssistant,
    /// A web mailer or a mail app.
    Email,
    /// Known, and none of these: lies below a search engine's domain and is no search.
    Other,
}

impl Category {
    /// The medium of a visit that only the referrer speaks for; as GA4 names it where GA4 has a name.
    pub fn referred_medium(self) -> &'static str {
        match self {
            Self::Search => "organic",
            Self::Social => "social",
            Self::AiAssistant => "ai-assistant",
            Self::Email => "email",
            Self::Video | Self::Shopping | Self::Other => "referral",
        }
    }
}

/// A site that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its name in lower case, as a well-tagged URL would have it in `utm_source`.
    pub name: &'static str,
    /// What it is.
    pub category: Category,
    /// Further names of it in `utm_source`, lower-case.
    pub aliases: &'static [&'static str],
    /// Its hosts, each with all below it. `google.*` stands for `google` below any public suffix.
    pub hosts: &'static [&'static str],
}

const fn site(
    name: &'static str,
    category: Category,
    aliases: &'static [&'static str],
    hosts: &'static [&'static str],
) -> Source {
    Source { name, category, aliases, hosts }
}

use Category::{AiAssistant, Email, Other, Search, Shopping, Social, Video};

/// Every site that is known. The longest host decides (`mail.google.com` before `google.*`).
#[rustfmt::skip]
pub const SOURCES: &[Source] = &[
    // Search engines.
    site("google", Search, &["googleads", "google-ads", "google_ads", "adwords", "google ads"], &["google.*", "googleadservices.com", "com.google.android.googlequicksearchbox", "com.google.android.gms", "com.android.chrome"]),
    site("bing", Search, &["bingads", "bing-ads", "bing_ads", "microsoft_ads", "microsoft-ads"], &["bing.com", "com.microsoft.bing"]),
    site("msn", Search, &[], &["msn.com"]),
    site("yahoo", Search, &[], &["yahoo.*", "yahoo.co.jp", "com.yahoo.mobile.client.android.search"]),
    site("duckduckgo", Search, &["ddg"], &["duckduckgo.com", "com.duckduckgo.mobile.android"]),
    site("ecosia", Search, &[], &["ecosia.org", "com.ecosia.android"]),
    site("yandex", Search, &[], &["yandex.*", "ya.ru", "ru.yandex.searchplugin"]),
    site("baidu", Search, &[], &["baidu.com"]),
    site("naver", Search, &[], &["naver.com", "com.nhn.android.search"]),
    site("daum", Search, &[], &["daum.net"]),
    site("sogou", Search, &[], &["sogou.com"]),
    site("so.com", Search, &["360.cn"], &["so.com", "so.360.cn"]),
    site("shenma", Search, &[], &["sm.cn"]),
    site("seznam", Search, &[], &["seznam.cz"]),
    site("qwant", Search, &[], &["qwant.com", "com.qwant.liberty"]),
    site("startpage", Search, &[], &["startpage.com", "ixquick.com"]),
    site("brave", Search, &[], &["search.brave.com"]),
    site("kagi", Search, &[], &["kagi.com"]),
    site("mojeek", Search, &[], &["mojeek.com"]),
    site("swisscows", Search, &[], &["swisscows.com"]),
    site("metager", Search, &[], &["metager.de", "metager.org"]),
    site("presearch", Search, &[], &["presearch.com", "presearch.org"]),
    site("ask", Search, &[], &["ask.com"]),
    site("aol", Search, &[], &["aol.com", "search.aol.com"]),
    site("dogpile", Search, &[], &["dogpile.com"]),
    site("info.com", Search, &[], &["info.com"]),
    site("lycos", Search, &[], &["lycos.com"]),
    site("excite", Search, &[], &["excite.com"]),
    site("webcrawler", Search, &[], &["webcrawler.com"]),
    site("coccoc", Search, &["coc coc"], &["coccoc.com"]),
    site("rambler", Search, &[], &["rambler.ru"]),
    site("mail.ru", Search, &[], &["go.mail.ru"]),
    site("lukol", Search, &[], &["lukol.com"]),
    site("lilo", Search, &[], &["lilo.org"]),
    site("gibiru", Search, &[], &["gibiru.com"]),
    site("onet", Search, &[], &["onet.pl"]),
    site("virgilio", Search, &[], &["virgilio.it"]),
    site("najdi", Search, &[], &["najdi.si"]),
    site("biglobe", Search, &[], &["biglobe.ne.jp"]),
    site("goo", Search, &[], &["goo.ne.jp"]),
    site("t-online", Search, &[], &["suche.t-online.de"]),
    site("web.de", Search, &[], &["suche.web.de"]),
    site("gmx", Search, &[], &["suche.gmx.net"]),
    site("avg", Search, &[], &["mysearch.avg.com"]),
    site("conduit", Search, &[], &["search.conduit.com"]),
    site("babylon", Search, &[], &["search.babylon.com"]),
    site("you", Search, &[], &["search.you.com"]),
    // Below a search engine's domain, and no search.
    site("docs.google.com", Other, &[], &["docs.google.com"]),
    site("drive.google.com", Other, &[], &["drive.google.com"]),
    site("sites.google.com", Other, &[], &["sites.google.com"]),
    site("calendar.google.com", Other, &[], &["calendar.google.com"]),
    site("meet.google.com", Other, &[], &["meet.google.com"]),
    site("classroom.google.com", Other, &[], &["classroom.google.com"]),
    site("translate.google.com", Other, &[], &["translate.google.com"]),
    site("keep.google.com", Other, &[], &["keep.google.com"]),
    site("tagassistant.google.com", Other, &[], &["tagassistant.google.com"]),
    site("analytics.google.com", Other, &[], &["analytics.google.com"]),
    site("ads.google.com", Other, &[], &["ads.google.com"]),
    site("search.google.com", Other, &[], &["search.google.com"]),
    site("play.google.com", Other, &[], &["play.google.com"]),
    // Social networks, forums and messengers.
    site("facebook", Social, &["fb", "meta", "facebook-ads", "facebook_ads", "fb_ads", "fb-ads", "meta_ads", "meta-ads", "facebookads"], &["facebook.com", "fb.com", "fb.me", "fb.watch", "messenger.com", "com.facebook.katana", "com.facebook.orca", "com.facebook.lite"]),
    site("instagram", Social, &["ig", "insta", "igshopping"], &["instagram.com", "com.instagram.android"]),
    site("threads", Social, &[], &["threads.net", "threads.com", "com.instagram.barcelona"]),
    site("whatsapp", Social, &["wa"], &["whatsapp.com", "wa.me", "com.whatsapp"]),
    site("x", Social, &["twitter", "tw", "twitter-ads", "twitter_ads"], &["x.com", "twitter.com", "t.co", "com.twitter.android"]),
    site("linkedin", Social, &["li", "lnkd", "linkedin-ads", "linkedin_ads"], &["linkedin.com", "lnkd.in", "com.linkedin.android"]),
    site("tiktok", Social, &["tt", "tik-tok", "tiktok-ads", "tiktok_ads"], &["tiktok.com", "tiktokv.com", "com.zhiliaoapp.musically", "com.ss.android.ugc.trill"]),
    site("snapchat", Social, &["snap", "snapchat-ads"], &["snapchat.com", "com.snapchat.android"]),
    site("pinterest", Social, &["pin", "pinterest-ads"], &["pinterest.*", "pin.it", "com.pinterest"]),
    site("reddit", Social, &["reddit-ads"], &["reddit.com", "redd.it", "com.reddit.frontpage"]),
    site("quora", Social, &["quora-ads"], &["quora.com", "com.quora.android"]),
    site("tumblr", Social, &[], &["tumblr.com", "com.tumblr"]),
    site("discord", Social, &[], &["discord.com", "discord.gg", "discordapp.com", "com.discord"]),
    site("telegram", Social, &["tg"], &["telegram.org", "t.me", "telegram.me", "org.telegram.messenger"]),
    site("mastodon", Social, &[], &["mastodon.social", "mastodon.online", "mastodon.world", "mstdn.social"]),
    site("bluesky", Social, &["bsky"], &["bsky.app", "xyz.blueskyweb.app"]),
    site("vk", Social, &["vkontakte"], &["vk.com", "vk.ru", "vkontakte.ru", "com.vkontakte.android"]),
    site("odnoklassniki", Social, &["ok"], &["ok.ru", "odnoklassniki.ru"]),
    site("xing", Social, &[], &["xing.com", "com.xing.android"]),
    site("line", Social, &[], &["line.me", "jp.naver.line.android"]),
    site("kakao", Social, &["kakaotalk"], &["kakao.com", "com.kakao.talk"]),
    site("weibo", Social, &[], &["weibo.com", "weibo.cn", "com.sina.weibo"]),
    site("wechat", Social, &["weixin"], &["wechat.com", "weixin.qq.com", "com.tencent.mm"]),
    site("zhihu", Social, &[], &["zhihu.com"]),
    site("douban", Social, &[], &["douban.com"]),
    site("xiaohongshu", Social, &["rednote"], &["xiaohongshu.com", "rednote.com"]),
    site("skype", Social, &[], &["skype.com"]),
    site("slack", Social, &[], &["slack.com", "com.slack"]),
    site("nextdoor", Social, &[], &["nextdoor.com"]),
    site("meetup", Social, &[], &["meetup.com"]),
    site("hacker news", Social, &["hackernews", "hn"], &["news.ycombinator.com"]),
    site("stackoverflow", Social, &[], &["stackoverflow.com"]),
    site("stackexchange", Social, &[], &["stackexchange.com", "serverfault.com", "superuser.com", "askubuntu.com"]),
    site("medium.com", Social, &[], &["medium.com"]),
    site("substack", Social, &[], &["substack.com"]),
    site("livejournal", Social, &[], &["livejournal.com"]),
    site("blogger", Social, &["blogspot"], &["blogger.com", "blogspot.com"]),
    site("wordpress", Social, &[], &["wordpress.com"]),
    site("flickr", Social, &[], &["flickr.com"]),
    site("deviantart", Social, &[], &["deviantart.com"]),
    site("behance", Social, &[], &["behance.net"]),
    site("dribbble", Social, &[], &["dribbble.com"]),
    site("goodreads", Social, &[], &["goodreads.com"]),
    site("lemmy", Social, &[], &["lemmy.world", "lemmy.ml"]),
    site("gettr", Social, &[], &["gettr.com"]),
    site("gab", Social, &[], &["gab.com"]),
    site("truthsocial", Social, &[], &["truthsocial.com"]),
    site("parler", Social, &[], &["parler.com"]),
    site("myspace", Social, &[], &["myspace.com"]),
    site("diaspora", Social, &[], &["diasporafoundation.org"]),
    site("digg", Social, &[], &["digg.com"]),
    site("mix", Social, &[], &["mix.com", "stumbleupon.com"]),
    site("flipboard", Social, &[], &["flipboard.com"]),
    site("getpocket", Social, &["pocket"], &["getpocket.com"]),
    site("producthunt", Social, &["product hunt", "product-hunt"], &["producthunt.com"]),
    site("glassdoor", Social, &[], &["glassdoor.*"]),
    site("tripadvisor", Social, &[], &["tripadvisor.*"]),
    site("yelp", Social, &[], &["yelp.*"]),
    site("trustpilot", Social, &[], &["trustpilot.com"]),
    site("linktree", Social, &["linktr.ee"], &["linktr.ee"]),
    // Video.
    site("youtube", Video, &["yt", "youtube-ads", "youtube_ads"], &["youtube.com", "youtu.be", "youtube-nocookie.com", "com.google.android.youtube"]),
    site("vimeo", Video, &[], &["vimeo.com"]),
    site("dailymotion", Video, &[], &["dailymotion.com", "dai.ly"]),
    site("twitch", Video, &[], &["twitch.tv", "tv.twitch.android.app"]),
    site("wistia", Video, &[], &["wistia.com", "wistia.net"]),
    site("rumble", Video, &[], &["rumble.com"]),
    site("odysee", Video, &[], &["odysee.com"]),
    site("bitchute", Video, &[], &["bitchute.com"]),
    site("peertube", Video, &[], &["joinpeertube.org"]),
    site("ted", Video, &[], &["ted.com"]),
    site("netflix", Video, &[], &["netflix.com"]),
    site("hulu", Video, &[], &["hulu.com"]),
    site("disneyplus", Video, &["disney+"], &["disneyplus.com"]),
    site("crunchyroll", Video, &[], &["crunchyroll.com"]),
    site("iqiyi", Video, &[], &["iqiyi.com"]),
    site("youku", Video, &[], &["youku.com"]),
    site("bilibili", Video, &[], &["bilibili.com"]),
    site("rutube", Video, &[], &["rutube.ru"]),
    site("niconico", Video, &[], &["nicovideo.jp"]),
    // Shops of many sellers, and comparisons of prices.
    site("amazon", Shopping, &[], &["amazon.*", "com.amazon.mshop.android.shopping"]),
    site("ebay", Shopping, &[], &["ebay.*"]),
    site("etsy", Shopping, &[], &["etsy.com"]),
    site("walmart", Shopping, &[], &["walmart.com"]),
    site("target.com", Shopping, &[], &["target.com"]),
    site("aliexpress", Shopping, &[], &["aliexpress.*"]),
    site("alibaba", Shopping, &[], &["alibaba.com"]),
    site("temu", Shopping, &[], &["temu.com"]),
    site("shein", Shopping, &[], &["shein.com"]),
    site("wish", Shopping, &[], &["wish.com"]),
    site("rakuten", Shopping, &[], &["rakuten.*", "rakuten.co.jp"]),
    site("mercadolibre", Shopping, &["mercadolivre"], &["mercadolibre.*", "mercadolivre.com.br"]),
    site("shopzilla", Shopping, &[], &["shopzilla.com"]),
    site("shopping.com", Shopping, &[], &["shopping.com"]),
    site("google shopping", Shopping, &["google-shopping", "googleshopping", "google_shopping"], &["shopping.google.com"]),
    site("shopify", Shopping, &[], &["shopify.com"]),
    site("idealo", Shopping, &[], &["idealo.*"]),
    site("geizhals", Shopping, &[], &["geizhals.de", "geizhals.at", "geizhals.eu"]),
    site("billiger.de", Shopping, &[], &["billiger.de"]),
    site("kelkoo", Shopping, &[], &["kelkoo.*"]),
    site("pricerunner", Shopping, &[], &["pricerunner.*"]),
    site("prisjakt", Shopping, &["pricespy"], &["prisjakt.nu", "prisjakt.no", "pricespy.co.uk"]),
    site("heureka", Shopping, &[], &["heureka.cz", "heureka.sk"]),
    site("ceneo", Shopping, &[], &["ceneo.pl"]),
    site("allegro", Shopping, &[], &["allegro.pl"]),
    site("otto", Shopping, &[], &["otto.de"]),
    site("zalando", Shopping, &[], &["zalando.*"]),
    site("cdiscount", Shopping, &[], &["cdiscount.com"]),
    site("bol.com", Shopping, &["bol"], &["bol.com"]),
    site("flipkart", Shopping, &[], &["flipkart.com"]),
    site("coupang", Shopping, &[], &["coupang.com"]),
    site("taobao", Shopping, &[], &["taobao.com"]),
    site("tmall", Shopping, &[], &["tmall.com"]),
    site("jd", Shopping, &[], &["jd.com"]),
    site("ozon", Shopping, &[], &["ozon.ru"]),
    site("wildberries", Shopping, &[], &["wildberries.ru"]),
    site("slickdeals", Shopping, &[], &["slickdeals.net"]),
    // Assistants that answer in words.
    site("chatgpt", AiAssistant, &["openai"], &["chatgpt.com", "chat.openai.com", "openai.com", "com.openai.chatgpt"]),
    site("gemini", AiAssistant, &["bard"], &["gemini.google.com", "bard.google.com", "com.google.android.apps.bard"]),
    site("copilot", AiAssistant, &[], &["copilot.microsoft.com", "copilot.cloud.microsoft", "com.microsoft.copilot"]),
    site("claude", AiAssistant, &["anthropic"], &["claude.ai", "com.anthropic.claude"]),
    site("perplexity", AiAssistant, &[], &["perplexity.ai", "ai.perplexity.app.android"]),
    site("grok", AiAssistant, &[], &["grok.com", "ai.x.grok"]),
    site("deepseek", AiAssistant, &[], &["deepseek.com", "com.deepseek.chat"]),
    site("mistral", AiAssistant, &["le chat"], &["chat.mistral.ai"]),
    site("meta ai", AiAssistant, &["meta.ai"], &["meta.ai"]),
    site("poe", AiAssistant, &[], &["poe.com"]),
    site("you.com", AiAssistant, &[], &["you.com"]),
    site("phind", AiAssistant, &[], &["phind.com"]),
    site("notebooklm", AiAssistant, &[], &["notebooklm.google.com"]),
    site("kimi", AiAssistant, &[], &["kimi.com", "kimi.moonshot.cn"]),
    site("qwen", AiAssistant, &[], &["chat.qwen.ai"]),
    site("doubao", AiAssistant, &[], &["doubao.com"]),
    site("huggingchat", AiAssistant, &[], &["huggingface.co"]),
    site("duck.ai", AiAssistant, &[], &["duck.ai"]),
    // Web mailers and mail apps.
    site("gmail", Email, &[], &["mail.google.com", "com.google.android.gm"]),
    site("outlook", Email, &[], &["outlook.live.com", "outlook.office.com", "outlook.office365.com", "outlook.com", "safelinks.protection.outlook.com", "com.microsoft.office.outlook"]),
    site("yahoo mail", Email, &[], &["mail.yahoo.com", "mail.yahoo.co.jp", "com.yahoo.mobile.client.android.mail"]),
    site("aol mail", Email, &[], &["mail.aol.com"]),
    site("icloud mail", Email, &[], &["mail.icloud.com", "icloud.com"]),
    site("proton mail", Email, &["protonmail"], &["mail.proton.me", "mail.protonmail.com"]),
    site("gmx mail", Email, &[], &["gmx.net", "gmx.de", "gmx.com", "gmx.at", "gmx.ch"]),
    site("web.de mail", Email, &[], &["web.de"]),
    site("t-online mail", Email, &[], &["email.t-online.de"]),
    site("mail.ru mail", Email, &[], &["e.mail.ru"]),
    site("yandex mail", Email, &[], &["mail.yandex.ru", "mail.yandex.com"]),
    site("zoho mail", Email, &[], &["mail.zoho.com", "mail.zoho.eu"]),
    site("fastmail", Email, &[], &["fastmail.com"]),
    site("orange mail", Email, &[], &["messagerie.orange.fr", "mail.orange.fr"]),
    site("naver mail", Email, &[], &["mail.naver.com"]),
    site("qq mail", Email, &[], &["mail.qq.com"]),
    site("163 mail", Email, &[], &["mail.163.com"]),
];

/// The rows by host, by the label that may stand below any suffix, and by name.
struct Index {
    hosts: HashMap<&'static str, &'static Source>,
    labels: HashMap<&'static str, &'static Source>,
    names: HashMap<&'static str, &'static Source>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { hosts: HashMap::new(), labels: HashMap::new(), names: HashMap::new() };
    for source in SOURCES {
        for host in source.hosts {
            match host.strip_suffix(".*") {
                Some(label) => index.labels.insert(label, source),
                None => index.hosts.insert(host, source),
            };
        }
        for name in std::iter::once(&source.name).chain(source.aliases) {
            index.names.insert(name, source);
        }
    }
    index
});

impl Source {
    /// The site that a host, lower-case, belongs to.
    pub fn of_host(host: &str) -> Option<&'static Self> {
        let mut rest = host;
        loop {
            if let Some(source) = INDEX.hosts.get(rest) {
                return Some(source);
            }
            let Some((_, parent)) = rest.split_once('.') else { break };
            rest = parent;
        }
        let (label, _suffix) = site_of(host).split_once('.')?;
        INDEX.labels.get(label).copied()
    }

    /// The site that a `utm_source` means, whatever its case: by name, or where it is a host by that.
    pub fn of_name(name: &str) -> Option<&'static Self> {
        let name = lower(name.trim());
        match INDEX.names.get(&*name) {
            Some(source) => Some(source),
            None if name.contains('.') => Self::of_host(&name),
            None => None,
        }
    }
}

/// In lower case; only what is not yet is copied.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_host_stands_once_and_leads_to_its_own_row() {
        let (mut names, mut hosts) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for source in SOURCES {
            for name in std::iter::once(&source.name).chain(source.aliases) {
                assert!(names.insert(*name), "{name} stands twice");
                assert_eq!(*name, name.to_lowercase());
                assert_eq!(Source::of_name(&name.to_uppercase()), Some(source), "{name}");
            }
            for host in source.hosts {
                assert!(hosts.insert(*host), "{host} stands twice");
                assert_eq!(*host, host.to_lowercase());
                let host = host.replace(".*", ".com");
                assert_eq!(Source::of_host(&host), Some(source), "{host}");
                assert_eq!(Source::of_host(&format!("www.{host}")), Some(source), "www.{host}");
            }
        }
    }

    #[test]
    fn the_longest_host_decides_and_look_alikes_are_unknown() {
        let name = |host: &str| Source::of_host(host).map(|source| source.name);
        for (host, expected) in [
            ("www.google.co.uk", Some("google")),
            ("mail.google.com", Some("gmail")),
            ("gemini.google.com", Some("gemini")),
            ("docs.google.com", Some("docs.google.com")),
            ("de.search.yahoo.com", Some("yahoo")),
            ("l.instagram.com", Some("instagram")),
            ("google.evil.example", None),
            ("notgoogle.com", None),
            ("xt.co", None),
            ("localhost", None),
            ("192.0.2.1", None),
            ("[::1]", None),
            ("", None),
        ] {
            assert_eq!(name(host), expected, "{host}");
        }
        assert_eq!(Source::of_name(" ChatGPT.com ").map(|source| source.name), Some("chatgpt"));
        assert_eq!(Source::of_name("newsletter"), None);
    }
}
