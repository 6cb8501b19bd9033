"""Words in user agents, from what crawlers, tools, devices and apps publish about themselves.

Regular expressions without look-around (Rust's dialect); letters of any case unless said otherwise.
"""

# A browser driven by a program.
AUTOMATION = (
    "headless",
    "phantomjs|slimerjs|casperjs|htmlunit|jsdom",
    "selenium|webdriver|puppeteer|playwright|cypress",
    "rendertron|prerender",
)

# How programs name themselves. A word that people's agents also hold stands with its neighbours.
DECLARED = (
    # `bot` ends its word: Caboto is a bank and fuboTV a television; Cubot makes telephones.
    r"(?:^|[^u]|[^c]u)bots?(?:[^a-z]|$)",
    r"robot|bot\.(?:html?|php)",
    "crawl|spider|slurp|scrap(?:y|e|ing)|archiver|mediapartners|indexer|harvest",
    "fetcher|grabber|downloader|webcopier|httrack|collector",
    # A person's browser gives no address at which to complain about it.
    r"\+?https?://|mailto:|[(; ]www\.|[a-z0-9._-]+@[a-z0-9-]+\.[a-z]{2}",
    # Libraries and clients.
    "curl/|wget/|python[-/]|python requests|urllib|libwww-perl|lwp[-:/ ]|^java/|^php/|^ruby|^perl|^node",
    "okhttp|httpclient|http_client|http_request|guzzle|postman|insomnia/|restsharp|rest-client|axios/|undici",
    "node-fetch",
    "aiohttp|httpx|mechanize|winhttp|^grpc|scalaj-http|http-kit|resty|request-promise|go-http-client|package http",
    "apachebench|^siege/|^k6/|jmeter|colly|feedparser|openai/|anthropic/|^ai/|langchain",
    # Watchers of availability and speed.
    "uptime|pingdom|monitor(?:ing|is)?(?:[^a-z]|$)|httpmon|site24x7|statuscake|nagios|zabbix|prometheus",
    "collectd|munin/",
    "^monit/|xymon|hobbit|health-?check|healthservice|health-check|kube-probe|synthetic|gomezagent|dejaclick",
    "dynatrace",
    "pagespeed|page speed|lighthouse|gtmetrix|webpagetest|datadog|newrelic|splunk|catchpoint|cloudflare|webgazer",
    # Checkers of links, pages and safety.
    "link ?-?check|checker|validator|preview|unfurl|linkexpander|link resolver|favicon|inspector|analyzer|classifier",
    "(?:^|[^m])scanner|scanning|nikto|sqlmap|nuclei|arachni|jorgee|nmap|masscan|zgrab|burpcollaborator|fuzz",
    "wappalyzer|clamav|l9tcpid",
    r"probe(?:[^a-z]|$)|search console",
    # Feeds are read by programs, which say for how many subscribers.
    "feed(?:[^a-z]|s|ly|bin|er|d|fetcher|parser|burner|demon|reader|press|wind)",
    "(?:^|[ /:.(-])rss(?:[ /;:)-]|reader|owl|bandit|radio)",
    "rss/|subscribers?[;=) ]|netnewswire|newsgator|liferea|akregator|bloglovin|^reeder|^readkit|apple-pubsub",
    "^castro|^downcast",
    # Services that call on behalf of other services, and mail that loads pictures.
    "azure-logic-apps|ifttt|google-cloud-|google-adwords|facebookplatform|facebookexternalhit|webhook|callback",
    "(?:^|[^a-z])cron(?:[^a-z]|$)",
    "imageproxy|emailproxy|mail[a-z.]* proxy|transcoder|thumbor|mnogosearch|ex(?:t)?ractor|torrent/|qcloudcdn|dcv$",
    "agent/|sender |services$|cryptoapi|^swcd |webcollage|ddg[_-]android|^whatsapp/|googlemessages|duplexweb",
    "kendra|hwcdn",
    # Programs that browse for a person who does not look: assistants and editors.
    "claude-code|^cursor/|cursor/[0-9.]+ chrome|chatgpt-user|perplexity-user",
)

# Patterns of crawler-user-agents that also match people: a build of Android 15 that many telephones share, an
# everyday word, and requests of Firefox's own parts.
TOO_COMMON = frozenset({r"AP3A\.240617\.008", "Sonic", r"Fetch\/"})

# Apps in whose browsers people read pages, and browsers whose maker also runs a crawler of the name.
IN_APP = (
    r"\[fb|fban/|fbav/|fb_iab|metaiab|instagram \d|barcelona \d|messengerforios|whatsapp/.*(?:webview|safari)",
    r"twitter for|pinterest for|\[pinterest|linkedinapp|snapchat/|snapchat \d|musical_ly|trill_",
    r"bytedancewebview|tiktok \d",
    r"micromessenger|mqqbrowser|qq/|weibo|aliapp|baiduboxapp|kakaotalk|naver\(inapp| line/\d|daumapps|zalo",
    r"viber|telegram-android|telegram \d|discord/\d.*electron|slack_ssb|teams/|skype/|gsa/\d|googleapp/",
    r"bingweb|duckduckgo/\d",
    "sogoumobilebrowser|sogoumse|metasr|coc_coc_browser|cubot",
)

# Device classes, by the first that matches. An Android is a telephone or a tablet by other signs (see agents.py); the
# last ones are systems and programs of people that tell no class.
DEVICES = (
    ("mobile", ("windows phone|iemobile",)),
    (
        "other",
        (
            "smart-?tv|apple ?tv|tvos|google ?tv|android ?tv|crkey|hbbtv|netcast|web0s|webos.*tv",
            "[; /]tv[; )/]|tizen.*tv",
            "bravia|roku|viera|aquos|philipstv|nettv|inettvbrowser|opera tv|dtv|mibox|mitv|ctv$",
            "; aft[a-z0-9]+[ ;)]|fire tv",
            r"playstation|xbox|nintendo|nvidia shield|watchos|apple watch|; sm-r\d|wear os|oculusbrowser",
            r"quest \d|; vr[;)]",
        ),
    ),
    (
        "tablet",
        (
            r"ipad|tablet(?:[^ ]| [^p]|$)|playbook|kindle|nexus (?:7|9|10)\b|\bsm-[tx]\d|\bgt-p\d",
            "; kf[a-z]{2,5}[ ;)]|lenovo tb",
            "mediapad|xoom|touchpad",
        ),
    ),
    (
        "mobile",
        (
            "iphone|ipod|iemobile|windows phone|windows ce|blackberry|bb10|opera mini|opera mobi|symbian",
            "series ?[346]0|s60",
            "nokia|sonyericsson|samsung-|^lg[-/]|^mot-|^htc|midp|j2me|ucweb|kaios|palm|webos|hpwos|fennec",
            "bada|maemo|meego",
            r"sailfish|ios[ /]\d|fxios|crios",
        ),
    ),
    ("android", ("android|dalvik",)),
    ("mobile", ("mobile|fb4a",)),
    (
        "desktop",
        (
            "windows|win9|win32|macintosh|mac os x|mac_powerpc|x11|linux|cros |bsd|sunos|amiga|morphos|haiku",
            "beos|os/2",
            "risc os|syllable|ubuntu|inferno|irix|hp-ux",
        ),
    ),
    ("other", ("msie|konqueror|netpositive|webpositive|omniweb|icab|ibrowse|msoffice|ms-office",)),
)
