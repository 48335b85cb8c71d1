/**
 * Being told: notifications from one tab, the title, the app's badge.
 * @module
 */

import { t } from '../i18n/texts.js';
import { keyOf } from '../state/conversations.js';

/**
 * @param {import('../state/engine.js').Engine} engine
 * @param {object} options
 * @param {string} options.title
 * @param {() => boolean} options.wanted
 * @param {(key: string) => void} options.open
 * @param {(key: string) => string} options.pathOf
 */
export function notify(engine, { title, wanted, open, pathOf }) {
  /** @type {Map<string, Notification>} */
  const shown = new Map();
  let leads = !navigator.locks; // the one tab that speaks
  const stop = new AbortController();
  navigator.locks?.request(`imserver:notify:${engine.state.me}`, { signal: stop.signal }, () => {
    leads = true;
    return new Promise((resolve) => stop.signal.addEventListener('abort', resolve));
  }).catch(() => {});

  /** @param {string} key @param {string} heading @param {string} body */
  const tell = (key, heading, body) => {
    try {
      const note = new Notification(heading, { body, tag: `imserver:${key}`, data: { path: pathOf(key) } });
      note.onclick = () => {
        window.focus();
        open(key);
        note.close();
      };
      shown.set(key, note);
    } catch {
      // Phones show them by the service worker only.
      void navigator.serviceWorker?.ready.then((worker) =>
        worker.showNotification(heading, { body, tag: `imserver:${key}`, data: { path: pathOf(key) } }));
    }
  };

  /** @type {(messages: import('../sdk/shapes.js').Message[], caughtUp: boolean) => void} */
  const arrived = (messages, caughtUp) => {
    if (!leads || !wanted() || document.hasFocus()) return;
    if (!('Notification' in window) || Notification.permission !== 'granted') return;
    const { me, talks } = engine.state;
    const heard = messages.filter((message) => {
      const talk = talks.get(keyOf(me, message));
      return talk && talk.unread > 0 && (!talk.muted || message.mentions?.includes(me));
    });
    if (!heard.length) return;
    // What came while asleep is summed up; so is a flood.
    if (!caughtUp || heard.length > 3) {
      tell('summary', title, t('notify_summary', { n: heard.length }));
      return;
    }
    for (const message of heard) {
      const key = keyOf(me, message);
      const name = engine.nameOf(key, t('notes'));
      const who = message.group_id ? `${message.sender_id}: ` : '';
      tell(key, name, who + message.content.slice(0, 200));
    }
  };
  engine.arrivals.add(arrived);

  const unsubscribe = engine.store.subscribe((state) => {
    let unread = 0;
    for (const talk of state.talks.values()) {
      if (!talk.muted || talk.mentions) unread += talk.unread;
      if (talk.unread === 0 && shown.has(talk.key)) {
        shown.get(talk.key)?.close(); // read here or elsewhere
        shown.delete(talk.key);
      }
    }
    document.title = unread ? `(${unread > 999 ? '999+' : unread}) ${title}` : title;
    if ('setAppBadge' in navigator) {
      void (unread ? navigator.setAppBadge(unread) : navigator.clearAppBadge()).catch(() => {});
    }
  });

  return () => {
    stop.abort();
    unsubscribe();
    engine.arrivals.delete(arrived);
    for (const note of shown.values()) note.close();
    document.title = title;
  };
}
