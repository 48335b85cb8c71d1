/**
 * The first module: finds out who is here, and shows them the page that is theirs.
 * @module
 */

import { chooseLanguage, language, reason, t } from '../i18n/texts.js';
import { Client } from '../sdk/imserver.js';
import { Engine } from '../state/engine.js';
import { Session } from '../state/session.js';
import { el, put } from './dom.js';
import { shell } from './shell.js';
import { signIn } from './signin.js';

const about = /** @type {HTMLMetaElement} */ (document.querySelector('meta[name=imserver]'));
const mode = about.content;
const base = about.dataset.base ?? '';
const title = about.dataset.title ?? 'imserver';
const url = location.origin + base;

/** @param {() => Storage} get @returns {Storage | null} */
function storage(get) {
  try {
    return get();
  } catch {
    return null; // forbidden
  }
}

const session = new Session(base, { shared: storage(() => localStorage), own: storage(() => sessionStorage) });
const tabs = 'BroadcastChannel' in window ? new BroadcastChannel(`imserver:${base}`) : null;
const root = el('div', { className: 'root' });
const notes = el('div', { className: 'notes' });
document.body.replaceChildren(root, notes);

/** @type {Engine | null} */
let engine = null;
/** @type {{element: HTMLElement, close: () => void} | null} */
let page = null;

function dress() {
  const { language: choice, theme } = session.preferences;
  chooseLanguage(choice, navigator.languages);
  document.documentElement.lang = language();
  document.documentElement.dataset.theme = theme;
}

function show() {
  dress();
  page?.close();
  page = null;
  const { identity } = session;
  // `?as=`: this tab is somebody else than the other tabs of the browser.
  const as = mode === 'open' && !session.isOwn && new URLSearchParams(location.search).has('as');
  if (!identity && (mode === 'proxy' || mode === 'jwt')) {
    void arrive();
    return;
  }
  if (!identity || as) {
    put(root, signIn({ url, mode, title, name: '', note: gone, done: (who) => comeIn(who, as) }));
    return;
  }
  if (!engine) {
    engine = new Engine(url, identity);
    const mine = engine;
    mine.store.subscribe(({ link }) => {
      if (link.status === 'refused' && (link.error?.code === 'unauthorized' || link.error?.code === 'forbidden')) void leave(t('signed_out'), mine);
    });
    put(root);
    void mine.load().then(() => {
      if (engine !== mine) return;
      enter(mine);
      void mine.connect();
    });
    return;
  }
  enter(engine);
}

/** In modes `proxy` and `jwt` the server says who is here: by its proxy's word, or a token in `#token=`. */
async function arrive() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
  if (token) history.replaceState(null, '', location.pathname); // it is no part of an address
  put(root, el('main', { className: 'signin' }, el('p', { className: 'quiet', role: 'status' }, gone ?? t('connecting'))));
  if (mode === 'jwt' && !token) {
    put(root, el('main', { className: 'signin' }, el('p', { className: 'problem', role: 'alert' }, t('code_unauthorized'))));
    return;
  }
  const client = new Client({
    url, login: { token }, start: 'now',
    onstate({ status, error }) {
      if (status === 'refused') put(root, el('main', { className: 'signin' }, el('p', { className: 'problem', role: 'alert' }, reason(error))));
      if (status !== 'catching_up') return;
      client.close();
      comeIn({ user_id: client.userId, token }, false);
    },
  });
  await client.open();
}

/** @param {Engine} mine */
function enter(mine) {
  const secondWindow = mode === 'open' ? `${base}/?as=` : null;
  page = shell(mine, { base, title, session, changed: show, signOut: () => void signOut(), secondWindow });
  put(root, page.element);
}

/** @type {string | undefined} */
let gone;

/** @param {import('../state/session.js').Identity} identity @param {boolean} forThisTab */
function comeIn(identity, forThisTab) {
  gone = undefined;
  session.signIn(identity, forThisTab);
  if (location.search) history.replaceState(null, '', location.pathname);
  if (!forThisTab) tabs?.postMessage({ signedIn: identity.user_id });
  show();
}

async function signOut() {
  const mine = engine;
  if (!mine) return;
  if (mode === 'token') await mine.client?.call('logout', {}, { timeout: 2000 }).catch(() => {});
  if (!session.isOwn) tabs?.postMessage({ signedOut: mine.identity.user_id });
  await leave(undefined, mine, true);
}

/** @param {string | undefined} why @param {Engine} mine @param {boolean} [forget] */
async function leave(why, mine, forget = false) {
  if (engine !== mine) return;
  engine = null;
  gone = why;
  session.signOut();
  page?.close();
  page = null;
  if (forget) {
    await mine.forget();
    for (const name of (await globalThis.caches?.keys()) ?? []) {
      if (name.startsWith('imserver-')) await caches.delete(name);
    }
  } else mine.close();
  history.replaceState(null, '', `${base}/`);
  show();
}

if (tabs) {
  tabs.onmessage = ({ data }) => {
    if (session.isOwn || !engine) return;
    if (data.signedOut === engine.identity.user_id) void leave(t('signed_out'), engine);
    else if (data.signedIn && data.signedIn !== engine.identity.user_id) {
      note(t('signed_in_elsewhere', { user: data.signedIn }), t('reload'), () => location.reload());
    }
  };
}

/** @param {string} text @param {string} label @param {() => void} act */
function note(text, label, act) {
  put(notes, el('div', { className: 'note', role: 'status' }, el('span', { dir: 'auto' }, text),
    el('button', { type: 'button', className: 'primary small', onclick: act }, label)));
}

/** The service worker keeps the client for when the network is away; secure contexts only. */
async function keepClient() {
  if (!('serviceWorker' in navigator)) return;
  /** @type {any} */
  let address = `${base}/worker.js`;
  const types = Reflect.get(window, 'trustedTypes');
  if (types) {
    const policy = types.createPolicy('imserver', {
      createScriptURL(/** @type {string} */ wanted) {
        if (wanted !== `${base}/worker.js`) throw new TypeError(wanted);
        return wanted;
      },
    });
    address = policy.createScriptURL(address);
  }
  const kept = navigator.serviceWorker.controller;
  const registration = await navigator.serviceWorker.register(address, { scope: `${base}/`, updateViaCache: 'none' });
  registration.addEventListener('updatefound', () => {
    const worker = registration.installing;
    worker?.addEventListener('statechange', () => {
      if (worker.state !== 'installed' || !kept) return;
      note(t('new_version'), t('reload'), () => {
        worker.postMessage('take over');
        location.reload();
      });
    });
  });
  // The page itself is the newest one: a worker that waits is its own.
  registration.waiting?.postMessage('take over');
  setInterval(() => void registration.update().catch(() => {}), 30 * 60_000);
}

show();
keepClient().catch(() => {});
