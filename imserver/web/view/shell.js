/**
 * The page of somebody who has come in: the list, the open conversation, and how the connection is.
 * @module
 */

import { reason, t } from '../i18n/texts.js';
import { chat } from './chat.js';
import { el, icon, put } from './dom.js';
import { newChat, newGroup } from './group.js';
import { notify } from './notify.js';
import { preferences } from './preferences.js';
import { sidebar } from './sidebar.js';

/**
 * @param {import('../state/engine.js').Engine} engine
 * @param {object} options
 * @param {string} options.base path
 * @param {string} options.title
 * @param {import('../state/session.js').Session} options.session
 * @param {() => void} options.changed preferences
 * @param {() => void} options.signOut
 * @param {string | null} options.secondWindow
 */
export function shell(engine, { base, title, session, changed, signOut, secondWindow }) {
  /** @type {ReturnType<typeof chat> | null} */
  let current = null;
  let selected = '';

  const pathOf = (/** @type {string} */ key) => (key ? `${base}/c/${key[0]}/${encodeURIComponent(key.slice(2))}` : `${base}/`);
  const keyInPath = () => {
    const found = /^\/c\/([ug])\/([^/]+)$/.exec(location.pathname.slice(base.length));
    try {
      return found ? `${found[1]}:${decodeURIComponent(found[2])}` : '';
    } catch {
      return '';
    }
  };

  const welcome = el('section', { className: 'welcome' }, icon('chat'), el('h1', {}, t('welcome')));
  const main = el('main', { className: 'main' });

  /** @param {string} key @param {boolean} [keepFocus] */
  const show = (key, keepFocus = false) => {
    if (key === selected && current) return;
    current?.close();
    selected = key;
    current = key ? chat(engine, key, { back: () => go(''), enterSends: () => session.preferences.enterSends }) : null;
    element.classList.toggle('open', !!key);
    put(main, current?.element ?? welcome);
    list.select(key);
    if (!keepFocus && matchMedia('(hover: hover)').matches) current?.focus();
  };

  /** @param {string} key */
  const go = (key) => {
    if (key !== selected) history.pushState(null, '', pathOf(key));
    show(key);
  };

  const list = sidebar(engine, {
    open: go,
    openAt(key, id) {
      go(key);
      void current?.timeline.jumpTo(id);
    },
    newChat: () => newChat(engine, go),
    newGroup: () => newGroup(engine, go),
    preferences: () => preferences({ session, engine, sendsWait: engine.state.sends.length > 0, changed, signOut }),
    secondWindow,
  });

  const state = el('div', { className: 'link-state', role: 'status' });
  const element = el('div', { className: 'shell' }, state, list.element, main);
  const stop = new AbortController();
  const { signal } = stop;
  const wake = () => engine.client?.wake();
  window.addEventListener('popstate', () => show(keyInPath()), { signal });
  window.addEventListener('online', wake, { signal });
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && wake(), { signal });
  navigator.serviceWorker?.addEventListener('message', ({ data }) => {
    if (typeof data?.open !== 'string') return;
    history.pushState(null, '', data.open);
    show(keyInPath());
  }, { signal });
  window.addEventListener('keydown', (event) => {
    if (event.isComposing || document.querySelector('dialog[open]')) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 'k') list.focusSearch();
    else if (event.altKey && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      const next = list.neighbour(event.key === 'ArrowDown' ? 1 : -1);
      if (next) go(next);
    } else if ((event.key === 'PageUp' || event.key === 'PageDown') && current) {
      current.timeline.scrollBy(event.key === 'PageUp' ? -1 : 1);
    } else return;
    event.preventDefault();
  }, { signal });

  let said = '';
  let timer = 0;
  const unsubscribe = engine.store.subscribe(({ link, notice }) => {
    const away = link.status === 'waiting' || link.status === 'connecting';
    const problem = link.status === 'refused' ? `refused:${link.error?.code}` : away ? 'away' : notice;
    if (problem === said) return;
    said = problem;
    clearTimeout(timer);
    // A short loss is not worth a word.
    timer = window.setTimeout(() => {
      if (problem === 'away') {
        put(state, t('offline'), el('button', { type: 'button', className: 'link-button', onclick: wake }, t('reconnect_now')));
      } else if (problem === 'restored' || problem === 'gap') {
        const seen = () => engine.dismiss();
        put(state, problem === 'gap' ? t('gap') : t('restored'), el('button', { type: 'button', className: 'link-button', onclick: seen }, t('close')));
      }
      else if (problem) put(state, reason(link.error));
      else put(state);
    }, problem === 'away' ? 1500 : 0);
  });

  const quiet = notify(engine, { title, wanted: () => session.preferences.notify, open: go, pathOf });
  show(keyInPath(), true);

  return {
    element,
    close() {
      clearTimeout(timer);
      current?.close();
      stop.abort();
      unsubscribe();
      quiet();
    },
  };
}
