/* Leadtrail pixel, the core: page views and sent forms of the page it stands in.
 *
 *   <script async src="https://track.example.com/static/pixel.js" data-pixel-id="YOUR_PIXEL"></script>
 *
 * Attributes
 *   data-pixel-id   which pixel; the only one that is needed
 *   data-endpoint   where events go, such as a path of the site's own host; default: `../api/track` from this script
 *   data-fields     further form fields by name, with commas and no spaces; the pixel's settings must list them too
 *   data-consent    "required": nothing is stored, and page views wait in memory, until leadtrail('consent', 'granted')
 *   data-gpc        "ignore": Global Privacy Control changes nothing here (the server has its own word on it)
 *   data-once       counts a path with its query once per tab
 *   data-plus       what of px-plus.js is wanted; it is loaded only then, on localhost, and by ?px_debug
 * Calls
 *   leadtrail('event', name, props)            an event of the site's own
 *   leadtrail('identify', email)               who this visitor is
 *   leadtrail('consent', 'granted' | 'denied')
 *   leadtrail('form_submit', email, { first_name, last_name })   a form that the pixel cannot see
 *   leadtrail.version
 * before the script is there by way of
 *   window.leadtrail = window.leadtrail || function () { (leadtrail.q = leadtrail.q || []).push(arguments); };
 * A form with data-px-form is reported although it has a password field, or no e-mail.
 *
 * The file has 1,500 bytes to live in, compressed (`cargo xtask pixel`). Where it is terse, that is why; comments and
 * names cost nothing. ES2018; no eval, nothing inline. */
((attempt) => attempt(() => {
  const early = window.leadtrail || {};
  const script = document.currentScript;
  const options = script.dataset;
  if (early.version) return; // A second tag counts nothing twice.

  /* Captures on the window, which sees an event before any handler of the page can stop it. */
  const on = (type, action, target = window) => target.addEventListener(type, attempt(action), true);

  const after = (object, name, action) => {
    const native = object[name];
    object[name] = function () {
      native.apply(this, arguments);
      action(this);
    };
  };

  /* ---- What may be kept in the browser, and where ---- */

  const endpoint = options.endpoint || new URL('../api/track', script.src);
  const quiet = navigator.globalPrivacyControl && !/ig/.test(options.gpc);

  /* Objects take the place of storage that the browser refuses. A first visit has nothing to parse: also in order. */
  let disk = {};
  let tab = {};
  let state = {}; // consent, and the visitor as `lt_visitor=ID`
  let queue = []; // bodies that are sent and not answered yet; the memory decides, the disk is its copy
  attempt(() => {
    disk = localStorage;
    tab = sessionStorage;
    [state, queue] = JSON.parse(disk.lt);
  })();

  /* A word that nobody has agreed on is no consent. */
  const granted = () => (state.consent || options.consent || 'granted') == 'granted';

  /* Where consent is not asked for, its denial has to survive the page. */
  const save = attempt(() => {
    if (!quiet && (granted() || !options.consent)) disk.lt = JSON.stringify([state, queue]);
  });

  /* Sets a cookie on the widest domain that the browser lets it have: from the top down, until it can be read. One
   * that never can be is set on all of them, which with an age of 0 is a removal. */
  const bake = attempt((cookie, seconds) => {
    let domain = '';
    for (const label of location.hostname.split('.').reverse()) {
      domain = '.' + label + domain;
      if (!document.cookie.includes(cookie)) {
        // Without TLS the last attribute is `false`, which no browser knows.
        document.cookie = cookie + ';path=/;max-age=' + seconds + ';domain=' + domain + ';' + (isSecureContext && 'secure');
      }
    }
  });

  const forget = () => {
    delete state.visitor;
    queue = [];
    bake('lt_visitor=-', 0);
    delete disk.lt;
  };

  /* ---- Sending ---- */

  /* A text is sent as text/plain, for which no browser asks permission first (preflight). What was refused for good is
   * done with; what met a limit, a fault or no network stays in the queue, under its id. */
  const transmit = (body) => fetch(endpoint, { method: 'post', body, keepalive: 1 })
    .then(({ status }) => {
      if (status != 429 && status < 500) {
        queue = queue.filter((other) => other != body);
        save();
      }
    }, () => navigator.sendBeacon(endpoint, body)); // Twice received is once counted, by the id.
  const flush = () => queue.map(transmit);

  let held = [];

  /* A form is sent by the person who fills it in, whatever they think of cookies; without consent nobody is named. */
  const send = (event) => {
    if (granted() || event.event_type == 'form_submit') {
      if (granted() && !quiet) {
        // By its cookie; as another site of the same owner handed it over in the link (px-plus.js), where there is a page
        // that it was clicked on: a link that is passed on must not make two people one; as it is stored. What the tool that Leadtrail replaces called ppp_visitor stays the same visitor. A new one is called after its first
        // event.
        [, , event.visitor_cookie = event.event_id] = /\b(lt|ppp)_visitor=([\w-]{8,64})/.exec(attempt(() => document.cookie)() + ' ' + (referrer && location) + ' ' + state.visitor) || [];
        bake(state.visitor = 'lt_visitor=' + event.visitor_cookie, 3e7); // 347 days
      }
      // Said to the server too, which must link nothing that is sent before consent.
      event.consent = granted() ? state.consent : 'denied';
      const body = JSON.stringify(event);
      // Queued before it is sent: a form is often followed by the next page at once, and the answer is then lost.
      queue = [...queue, body].slice(-20);
      save();
      transmit(body);
    } else if (!held[49]) held.push(event); // the first ones: among them is the landing page
  };

  let referrer;
  let last = document.referrer;

  const track = (event_type, more) => send({
    pixel_id: options.pixelId,
    // UUIDv7 (RFC 9562). The address of an empty blob ends in a random UUID, in insecure contexts too.
    event_id: ('0' + Date.now().toString(16) + '-7' + URL.createObjectURL(new Blob()).slice(-21)).replace(/.{8}/, '$&-'),
    event_type,
    timestamp: Date.now(),
    page_url: last,
    referrer_url: referrer,
    page_title: document.title,
    screen: { width: screen.width, height: screen.height },
    viewport: { width: innerWidth, height: innerHeight },
    ...more,
  });

  /* ---- Page views ---- */

  const moved = attempt((again) => {
    const page_url = location.href.split('#')[0];
    if ((again || page_url != last) && !tab[page_url]) {
      if ('once' in options && granted() && !quiet) tab[page_url] = 1;
      referrer = last;
      last = page_url;
      track('pageview');
    }
  });
  /* Single-page sites set the title shortly after the address. */
  const later = () => setTimeout(moved, 50);

  /* ---- Forms ---- */

  /* Whole names, as on the server, which decides: `emailing_frequency` is no address. `contact[email]` is `email`. */
  const allowed = RegExp('(^|\\[)((your|first|f|given|last|l|family|full|sur)?[-_ ]?(name|e?[-_]?mail[-_]?(address)?)|' + ('' + options.fields).replace(/,/g, '|') + ')]?$', 'i');
  let recent;

  const submitted = attempt((form) => {
    const mark = form.dataset.pxForm;
    const form_data = {};
    for (const { type, name, id, value, checked } of form.elements) {
      const [, , key = type == 'email' && type] = allowed.exec(name || id) || [];
      if (/pas/.test(type) && !mark) return;
      // By its first letter: date, email, number, search, select, tel, text, textarea, url. Never password, hidden, file.
      // 13 digits and more may be a payment card.
      if (key && (/^[denstu]/.test(type) || checked) && !form_data[key] && !/(\d\W*){13}/.test(value)) form_data[key] = value;
    }
    const key = JSON.stringify(form_data);
    // Without an address it is a search box, or the like. The same content within 5 s is the same form, on whichever
    // way it was sent: a library that stops the event, looks at the fields and calls submit() sends it once.
    if ((/@/.test(key) || mark) && key != recent) {
      recent = key;
      setTimeout(() => recent = 0, 5e3);
      track('form_submit', { form_data });
    }
  });

  /* submit() fires no submit event. The formdata event that it fires says nothing: who builds FormData in order to
   * check or to keep a draft fires it as well. Frames have events and prototypes of their own; those of other origins
   * throw. That a frame has loaded is told to its document only, and it may be another page each time. */
  const hook = attempt((frame) => {
    on('load', (event) => hook(event.target.contentWindow), frame.document);
    on('submit', (event) => submitted(event.target), frame);
    after(frame.HTMLFormElement.prototype, 'submit', submitted);
    Array.from(frame, hook);
  });

  /* ---- The page's side ---- */

  leadtrail = attempt((call, name, props) => {
    if (call == 'event') track(name, { props });
    else if (call != 'consent') track(call, { form_data: { email: name, ...props } });
    else {
      state.consent = name;
      if (granted()) held.splice(0).map(send);
      else {
        forget();
        save();
      }
    }
  });
  leadtrail.version = 1;

  if (quiet) forget(); // What is there is from before it was asked for.
  hook(window);
  on('pageshow', (event) => event.persisted && moved(1)); // back from the back-forward cache
  setInterval(flush, 1e4);

  const start = () => {
    after(history, 'pushState', later);
    after(history, 'replaceState', later);
    on('popstate', later);
    flush();
    moved(1);
    (early.q || []).map((call) => leadtrail(...call));
    if (options.plus || /localhost|px_debug/.test(location)) {
      const plus = document.createElement('script');
      plus.src = new URL('px-plus.js', script.src);
      plus.nonce = script.nonce;
      script.after(plus);
    }
  };
  on('prerenderingchange', start); // A prerendered page may never be looked at.
  document.prerendering || start();
})())((action) => (...input) => {
  /* Nothing that goes wrong in here may reach the page. */
  try {
    return action(...input);
  } catch (ignored) {}
});
