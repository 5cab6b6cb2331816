/* Leadtrail pixel. Reports page views and sent forms of the page it stands in:
 *
 *   <script async src="https://track.example.com/static/pixel.js" data-pixel-id="YOUR_PIXEL"></script>
 *
 * Attributes: data-endpoint (where events go; default: /api/track beside this script), data-fields (further form fields,
 * by name, comma-separated; the pixel's settings must list them too), data-consent="required" (nothing is kept in the
 * browser until leadtrail('consent', 'granted')).
 * Calls: leadtrail('event', name, props) | ('identify', email) | ('consent', 'granted' | 'denied') | ('pageview').
 * A form with data-px-form="off" and a field with data-px-field="off" are never read; data-px-form="NAME" names a form
 * and reports it even without an e-mail; data-px-field="email" (first_name, last_name, name) says what a field is. */
(function (window, document) {
  'use strict';

  const COOKIE = 'lt_visitor';
  const OLD_COOKIE = 'ppp_visitor'; // of the tool Leadtrail replaces: the visitor stays the same one
  const COOKIE_FORM = /^[A-Za-z0-9_-]{8,64}$/;
  const COOKIE_SECONDS = 34128000; // 395 days
  const QUEUE = 'lt_queue';
  const QUEUE_MAX = 20;
  const QUEUE_MS = 72 * 3600 * 1000; // older events would lose their time: the server believes no clock that far behind
  const TRIES_MAX = 8;
  const CONSENT = 'lt_consent';
  const TITLE_MS = 50; // single-page sites set the title shortly after the address

  /* The same names as the server's, which decides. Never by "contains": `emailing_frequency` is no address. */
  const FIELDS = {
    email: 'email e-mail e_mail mail email_address email-address emailaddress your-email your_email work_email business_email',
    first_name: 'first_name first-name firstname fname f_name given-name given_name givenname',
    last_name: 'last_name last-name lastname lname l_name surname family-name family_name familyname',
    name: 'name full_name full-name fullname your-name your_name',
  };

  const script = document.currentScript || document.querySelector('script[data-pixel-id]');
  const early = window.leadtrail;
  if (!script || (early && early.loaded)) return;

  const option = (name) => script.getAttribute('data-' + name);
  const pixelId = option('pixel-id');
  const gpc = navigator.globalPrivacyControl === true;
  const extraFields = (option('fields') || '').toLowerCase().split(',').map((name) => name.trim()).filter(Boolean);

  /* Nothing that goes wrong in here may reach the page. */
  const safely = (action) => function () {
    try {
      return action.apply(this, arguments);
    } catch (ignored) {
      return undefined;
    }
  };

  const store = {
    read: safely((key) => window.localStorage.getItem(key)),
    write: safely((key, value) => {
      window.localStorage.setItem(key, value);
      return true;
    }),
    remove: safely((key) => window.localStorage.removeItem(key)),
  };

  /* ---- Consent ---- */

  const mayAsk = option('consent') === 'required';
  let consent = gpc ? null : store.read(CONSENT) || null;
  const mayKeep = () => !gpc && consent !== 'denied' && (consent === 'granted' || !mayAsk);

  /* ---- The visitor ---- */

  let visitor = null;

  const readCookie = safely((name) => {
    const found = document.cookie.split(/;\s*/).find((pair) => pair.indexOf(name + '=') === 0);
    return found ? found.slice(name.length + 1) : null;
  });

  const writeCookie = safely((name, value, seconds, domain) => {
    document.cookie = name + '=' + value + '; path=/; max-age=' + seconds + '; samesite=lax' +
      (domain ? '; domain=' + domain : '') + (location.protocol === 'https:' ? '; secure' : '');
  });

  /* The widest domain that this browser lets the page set a cookie for: the registrable one. Null: the host alone. */
  let knownDomain;
  const siteDomain = () => {
    if (knownDomain !== undefined) return knownDomain;
    knownDomain = null;
    const labels = location.hostname.split('.');
    if (location.hostname.indexOf(':') >= 0 || /^[\d.]+$/.test(location.hostname)) return knownDomain;
    for (let first = labels.length - 2; first >= 0 && knownDomain === null; first -= 1) {
      const domain = labels.slice(first).join('.');
      writeCookie('lt_probe', '1', 10, domain);
      if (readCookie('lt_probe') === '1') knownDomain = domain;
      writeCookie('lt_probe', '', 0, domain);
    }
    return knownDomain;
  };

  const random = (bytes) => {
    const drawn = new Uint8Array(bytes);
    try {
      window.crypto.getRandomValues(drawn);
    } catch (ignored) {
      for (let at = 0; at < bytes; at += 1) drawn[at] = Math.random() * 256;
    }
    return drawn;
  };
  const hex = (bytes) => Array.from(bytes, (byte) => ('0' + byte.toString(16)).slice(-2)).join('');

  const wellFormed = (value) => (value && COOKIE_FORM.test(value) ? value : null);

  const keepVisitor = (value) => {
    visitor = value;
    writeCookie(COOKIE, value, COOKIE_SECONDS, siteDomain());
    store.write(COOKIE, value);
  };

  const visitorCookie = () => {
    if (!mayKeep()) return undefined;
    const cookie = wellFormed(readCookie(COOKIE));
    if (cookie) {
      visitor = cookie;
    } else {
      keepVisitor(visitor || wellFormed(store.read(COOKIE)) || wellFormed(readCookie(OLD_COOKIE)) || hex(random(16)));
    }
    return visitor;
  };

  const forgetVisitor = () => {
    visitor = null;
    writeCookie(COOKIE, '', 0, siteDomain());
    writeCookie(COOKIE, '', 0, null);
    writeCookie(OLD_COOKIE, '', 0, siteDomain());
    writeCookie(OLD_COOKIE, '', 0, null);
    store.remove(COOKIE);
    store.remove(QUEUE);
  };

  /* ---- Events ---- */

  /* UUIDv7 (RFC 9562): the time in front keeps the server's index in order. */
  const newId = () => {
    const bytes = random(16);
    let millis = Date.now();
    for (let at = 5; at >= 0; at -= 1) {
      bytes[at] = millis % 256;
      millis = Math.floor(millis / 256);
    }
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  };

  let referrer = document.referrer;

  const newEvent = (type, more) => Object.assign({
    pixel_id: pixelId,
    event_id: newId(),
    event_type: type,
    timestamp: new Date().toISOString(),
    visitor_cookie: visitorCookie(),
    page_url: location.href,
    referrer_url: referrer || undefined,
    page_title: document.title,
    viewport: { width: window.innerWidth, height: window.innerHeight },
    screen: { width: window.screen.width, height: window.screen.height },
    language: navigator.language,
    consent: consent || undefined,
  }, more);

  /* ---- Sending ---- */

  const endpoint = safely(() => {
    const given = option('endpoint');
    const url = given ? new URL(given, location.href) : new URL('/api/track', script.src);
    if (url.pathname === '/') url.pathname = '/api/track';
    return url;
  })();

  /* Cookies travel only within the site, where the answer may set the visitor's for longer than a script can. */
  const credentials = () => {
    const domain = siteDomain() || location.hostname;
    const isOwn = endpoint.hostname === domain || endpoint.hostname.slice(-domain.length - 1) === '.' + domain;
    return isOwn && mayKeep() ? 'include' : 'omit';
  };

  let memoryQueue = [];
  let isStored = true; // false: the browser refused to store the queue, which then lives as long as the page
  const readQueue = () => {
    const text = mayKeep() && isStored ? store.read(QUEUE) : undefined;
    if (text === undefined) return memoryQueue; // may not be kept, or the browser refuses to
    try {
      const kept = JSON.parse(text || '[]');
      const isFresh = (item) => item && item.event && item.tries < TRIES_MAX && Date.now() - item.at < QUEUE_MS;
      return Array.isArray(kept) ? kept.filter(isFresh) : [];
    } catch (ignored) {
      return [];
    }
  };
  const writeQueue = (items) => {
    memoryQueue = items.slice(-QUEUE_MAX);
    if (!mayKeep()) return;
    isStored = memoryQueue.length === 0 || store.write(QUEUE, JSON.stringify(memoryQueue)) === true;
    if (!isStored || memoryQueue.length === 0) store.remove(QUEUE);
  };
  const enqueue = (event) => {
    const others = readQueue().filter((item) => item.event.event_id !== event.event_id);
    writeQueue(others.concat({ at: Date.now(), tries: 0, event: event }));
  };
  const dequeue = (ids) => writeQueue(readQueue().filter((item) => ids.indexOf(item.event.event_id) < 0));

  /* As text/plain: a browser asks no permission (preflight) for that first. */
  const post = (body, keepalive) => window.fetch(endpoint.href, {
    method: 'POST',
    body: body,
    headers: { 'Content-Type': 'text/plain' },
    keepalive: keepalive,
    credentials: credentials(),
  });

  const isTemporary = (status) => status >= 500 || status === 429 || status === 408;

  const adopt = (answer) => {
    // The answer to an event from before the denial has just set the cookie again.
    if (consent === 'denied') return forgetVisitor();
    const cookie = answer && wellFormed(answer.visitor_cookie);
    return cookie && mayKeep() && cookie !== visitor ? keepVisitor(cookie) : undefined;
  };

  const send = safely((event) => {
    const body = JSON.stringify(event);
    // A form is often followed by the next page at once: it is kept until the answer is seen. Sent twice, it still
    // counts once, by its id.
    const isPrecious = event.event_type !== 'pageview';
    if (isPrecious) enqueue(event);
    const failed = () => {
      enqueue(event);
      retryLater();
    };
    let sent;
    try {
      sent = post(body, true);
    } catch (ignored) {
      if (navigator.sendBeacon && navigator.sendBeacon(endpoint.href, body)) dequeue([event.event_id]);
      else failed();
      return;
    }
    sent.then((response) => {
      if (isTemporary(response.status)) return failed();
      if (isPrecious) dequeue([event.event_id]);
      return response.status === 200 ? response.json().then(adopt, () => undefined) : undefined;
    }).catch(failed);
  });

  let retrying = false;
  let waits = 0;
  const retryLater = () => {
    if (waits >= 4) return; // the next page tries again
    waits += 1;
    window.setTimeout(retry, 2000 * Math.pow(4, waits - 1) * (1 + Math.random()));
  };

  /* Sends what could not be sent before, under the same ids. */
  const retry = safely(() => {
    const items = readQueue();
    if (retrying || !items.length || !window.fetch) return;
    retrying = true;
    const ids = items.map((item) => item.event.event_id);
    const again = () => {
      writeQueue(readQueue().map((item) => {
        const isOurs = ids.indexOf(item.event.event_id) >= 0;
        return isOurs ? Object.assign({}, item, { tries: item.tries + 1 }) : item;
      }));
      retryLater();
    };
    post(JSON.stringify({ batch: items.map((item) => item.event) }), false)
      .then((response) => {
        if (isTemporary(response.status)) return again();
        if (response.status !== 200) return dequeue(ids);
        return response.json().then((answer) => {
          const results = (answer && answer.results) || [];
          const done = ids.filter((id, at) => !results[at] || results[at].retry_after === undefined);
          dequeue(done);
          if (done.length < ids.length) again();
        });
      })
      .catch(again)
      .then(() => { retrying = false; });
  });

  /* ---- Page views ---- */

  const page = () => location.pathname + location.search;
  let seen = null;
  let seenUrl = null;

  const view = safely(() => {
    if (!/^https?:$/.test(location.protocol)) return;
    if (seenUrl !== null && seenUrl !== location.href) referrer = seenUrl;
    seen = page();
    seenUrl = location.href;
    send(newEvent('pageview'));
  });

  let coming;
  const moved = safely(() => {
    if (page() === seen) return;
    seen = page();
    window.clearTimeout(coming); // of several moves at once, such as a redirect, the last counts
    coming = window.setTimeout(view, TITLE_MS);
  });

  const watchHistory = () => {
    ['pushState', 'replaceState'].forEach((name) => {
      const original = window.history[name];
      window.history[name] = function () {
        const result = original.apply(this, arguments);
        moved();
        return result;
      };
    });
    window.addEventListener('popstate', moved);
    window.addEventListener('pageshow', safely((shown) => {
      if (shown.persisted) view(); // back from the back-forward cache: shown again without being loaded
    }));
  };

  /* ---- Forms ---- */

  const kinds = {};
  Object.keys(FIELDS).forEach((kind) => FIELDS[kind].split(' ').forEach((name) => { kinds[name] = kind; }));

  /* `contact[email]` is called `email`. */
  const plainName = (name) => {
    const inner = /\[([^\[\]]+)\]$/.exec(name || '');
    return (inner ? inner[1] : name || '').trim().toLowerCase();
  };

  const isCardNumber = (value) => {
    const digits = value.replace(/[\s-]/g, '');
    if (!/^\d{13,19}$/.test(digits)) return false;
    let sum = 0;
    for (let at = 0; at < digits.length; at += 1) {
      let digit = Number(digits[digits.length - 1 - at]);
      if (at % 2) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
      sum += digit;
    }
    return sum % 10 === 0;
  };

  /* What looks like a payment card or a US social security number never leaves the browser. */
  const isSensitive = (value) => isCardNumber(value) || /^\d{3}-\d{2}-\d{4}$/.test(value);

  const fieldKind = (field) => {
    const given = plainName(field.getAttribute('data-px-field'));
    const autocomplete = (field.getAttribute('autocomplete') || '').toLowerCase().split(/\s+/).pop();
    if (given === 'off' || /^cc-|password|one-time-code/.test(autocomplete)) return null;
    const names = [given, plainName(field.name), autocomplete, plainName(field.id)];
    for (const name of names) {
      if (Object.prototype.hasOwnProperty.call(kinds, name)) return kinds[name];
      if (name && extraFields.indexOf(name) >= 0) return name;
    }
    return field.type === 'email' ? 'email' : null;
  };

  const READ_TYPES = /^(text|email|tel|search|url|number|textarea|select-one|checkbox|radio)$/;

  const readForm = (form) => {
    const read = {};
    Array.prototype.forEach.call(form.elements, (field) => {
      if (!READ_TYPES.test(field.type) || (/checkbox|radio/.test(field.type) && !field.checked)) return;
      const kind = fieldKind(field);
      const value = String(field.value || '').trim();
      if (!kind || !value || isSensitive(value) || (kind === 'email' && value.indexOf('@') < 1)) return;
      if (read[kind] === undefined) read[kind] = value.slice(0, 500);
    });
    if (read.name) {
      const space = read.name.search(/\s/);
      const first = space < 0 ? read.name : read.name.slice(0, space);
      const last = space < 0 ? '' : read.name.slice(space).trim();
      if (!read.first_name) read.first_name = first;
      if (!read.last_name && last) read.last_name = last;
      delete read.name;
    }
    return read;
  };

  const submitted = safely((submission) => {
    const form = submission.target;
    if (!form || !form.elements) return;
    const mark = form.getAttribute('data-px-form');
    if (mark === 'off') return;
    const read = readForm(form);
    // A search box is no lead; a form the site marked is told of all the same.
    if (!read.email && mark === null) return;
    const name = mark || form.getAttribute('id') || form.getAttribute('name');
    send(newEvent('form_submit', { form_data: read, props: name ? { form: name.slice(0, 100) } : undefined }));
  });

  /* ---- Calls ---- */

  const calls = {
    pageview: () => view(),
    event: (name, props) => {
      if (!name) return;
      const value = props && typeof props.value === 'number' ? props.value : undefined;
      send(newEvent(String(name), { props: props, value: value }));
    },
    identify: (who) => {
      const given = typeof who === 'string' ? { email: who } : who || {};
      const form = {};
      ['email', 'first_name', 'last_name'].concat(extraFields).forEach((name) => {
        const value = typeof given[name] === 'string' ? given[name].trim() : '';
        if (value && !isSensitive(value)) form[name] = value.slice(0, 500);
      });
      if (form.email) send(newEvent('identify', { form_data: form }));
    },
    consent: (said) => {
      if (said !== 'granted' && said !== 'denied') return;
      consent = said;
      if (!gpc) store.write(CONSENT, said);
      if (said === 'denied') forgetVisitor();
      send(newEvent('consent'));
    },
  };

  const leadtrail = safely(function (name) {
    const call = Object.prototype.hasOwnProperty.call(calls, name) && calls[name];
    if (call) call.apply(null, Array.prototype.slice.call(arguments, 1));
  });
  leadtrail.loaded = true;

  safely(() => {
    if (!pixelId || !endpoint) return;
    window.leadtrail = leadtrail;
    watchHistory();
    document.addEventListener('submit', submitted, true);
    window.addEventListener('online', retry);
    const begin = () => {
      view();
      ((early && early.q) || []).forEach((call) => leadtrail.apply(null, call));
      window.setTimeout(retry, 1000);
    };
    // A prerendered page may never be looked at.
    if (document.prerendering) document.addEventListener('prerenderingchange', begin, { once: true });
    else begin();
  })();
})(window, document);
