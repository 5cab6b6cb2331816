(() => {
  const attempt = (action) => (...input) => {
    try {
      return action(...input);
    } catch (ignored) {}
  };
  const on = (target, type, action) => target.addEventListener(type, attempt(action), true);
  const after = (object, name, action) => {
    const native = object[name];
    object[name] = function () {
      native.apply(this, arguments);
      action(this);
    };
  };

  const early = window.leadtrail || {};
  const script = document.querySelector('script[data-pixel-id]');
  const options = script.dataset;
  if (early.version) return;

  const endpoint = options.endpoint || new URL('../api/track', script.src);
  const quiet = navigator.globalPrivacyControl && !options.gpc || options.dnt && navigator.doNotTrack == 1;
  const disk = attempt(() => localStorage)() || {};
  const tab = attempt(() => sessionStorage)() || {};
  let state = attempt(() => JSON.parse(disk.leadtrail))() || {};
  let queue = state.queue || [];
  let held = [];
  const granted = () => !/^[dr]/.test(state.consent || options.consent);
  const may = () => granted() && !quiet;
  const save = attempt(() => {
    if (may()) disk.leadtrail = JSON.stringify({...state, queue});
  });

  const newId = () => ('0' + Date.now().toString(16) + '-7' + URL.createObjectURL(new Blob()).slice(-21)).replace(/.{8}/, '$&-');

  const bake = attempt((cookie, seconds) => {
    let domain = '';
    for (const label of location.hostname.split('.').reverse()) {
      domain = '.' + label + domain;
      if (!document.cookie.includes(cookie)) document.cookie = cookie + ';path=/;samesite=lax;max-age=' + seconds + ';domain=' + domain + (location.protocol[5] ? ';secure' : '');
    }
  });

  const visitor = () => {
    if (may()) {
      const id = (/(?:lt|ppp)_visitor=([\w-]{8,64})/.exec(attempt(() => document.cookie)() + ' ' + state.visitor) || [0, newId()])[1];
      bake(state.visitor = 'lt_visitor=' + id, 34128e3);
      return id;
    }
  };

  const transmit = (body) => fetch(endpoint, { method: 'POST', body, keepalive: true, credentials: quiet ? 'omit' : options.credentials })
    .then(({ status }) => {
      if (status < 429 || /4[3-9]./.test(status)) {
        queue = queue.filter((other) => other != body);
        save();
      }
    })
    .catch(() => navigator.sendBeacon(endpoint, body));
  const flush = () => queue.map(transmit);

  const send = (event) => {
    if (granted() || event.event_type == 'form_submit') {
      const body = JSON.stringify({ ...event, visitor_cookie: visitor(), consent: state.consent });
      queue = [...queue, body].slice(-20);
      save();
      transmit(body);
    } else if (!held[49]) held.push(event);
  };

  let referrer;
  let last = document.referrer;
  const track = attempt((event_type, more) => send({
    pixel_id: options.pixelId,
    event_id: newId(),
    event_type,
    timestamp: Date.now(),
    page_url: last,
    referrer_url: referrer,
    page_title: document.title,
    viewport: { width: innerWidth, height: innerHeight },
    screen: { width: screen.width, height: screen.height },
    language: navigator.language,
    ...more,
  }));

  const moved = attempt((again) => {
    const page_url = location.href.split('#')[0];
    if ((again == 1 || page_url != last) && !tab['lt_' + page_url]) {
      if ('once' in options && may()) tab['lt_' + page_url] = 1;
      setTimeout(track, 50, 'pageview', { page_url, referrer_url: referrer = last });
      last = page_url;
    }
  });

  let recent;
  const submitted = attempt((form) => {
    const mark = form.dataset.pxForm;
    const form_data = {};
    for (const { type, name, id, value, checked } of form.elements) {
      if (type == 'password' && !mark) return;
      const plain = (name || id).toLowerCase().replace(/.*\[|\W|_/g, '');
      const known = /^(your|first|f|given|last|l|family|full|sur)?(name|e?mail(address)?)$/.test(plain) && plain;
      const key = /mail/.test(type + known) ? 'email' : known || ('' + options.fields).split(',').includes(name) && name;
      if (key && (/^[denstu]/.test(type) || checked) && !form_data[key] && !/(\d\W?){13}|\d{3}-\d\d-/.test(value)) form_data[key] = ('' + value).slice(0, 500);
    }
    const key = JSON.stringify(form_data);
    if ((/@/.test(form_data.email) || mark) && key != recent) {
      recent = key;
      setTimeout(() => recent = 0, 5e3);
      track('form_submit', { form_data });
    }
  });

  const hook = attempt((frame) => {
    on(frame.document, 'submit', (event) => submitted(event.target));
    on(frame.document, 'load', (event) => hook(event.target.contentWindow));
    after(frame.HTMLFormElement.prototype, 'submit', submitted);
    Array.from(frame, hook);
  });

  const leadtrail = window.leadtrail = attempt((name, ...input) => leadtrail[name](...input));
  Object.assign(leadtrail, {
    version: '1.0',
    event: (name, props) => track(name, { props, value: props && props.value }),
    identify: (email) => track('identify', { form_data: { email } }),
    consent: (consent) => {
      state.consent = consent;
      if (granted()) held.splice(0).map(send);
      else {
        queue = [];
        state = { consent };
        bake('lt_visitor=-', 0);
        delete disk.leadtrail;
        if (!quiet && !options.consent) disk.leadtrail = JSON.stringify(state);
      }
    },
    track, visitor,
  });

  hook(window);
  after(history, 'pushState', moved);
  after(history, 'replaceState', moved);
  on(window, 'popstate', moved);
  on(window, 'pageshow', (event) => event.persisted && moved(1));
  on(window, 'online', flush);
  setInterval(flush, 2e4);

  const start = () => {
    moved(1);
    flush();
    (early.q || []).map((call) => leadtrail(...call));
    if (options.plus || /:..localhost|[?&]px_debug/.test(location)) document.head.append(Object.assign(document.createElement('script'), { src: new URL('px-plus.js', script.src), nonce: script.nonce }));
  };
  document.prerendering ? on(document, 'prerenderingchange', start) : start();
})();
