/**
 * One open conversation: its head, its messages, and where one writes.
 * @module
 */

import { reason, t } from '../i18n/texts.js';
import { avatar } from './avatar.js';
import { composer } from './composer.js';
import { el, iconButton, put, say } from './dom.js';
import { menu, toast } from './fields.js';
import { groupDetails } from './group.js';
import { timeline } from './timeline.js';

/**
 * @param {import('../state/engine.js').Engine} engine
 * @param {string} key
 * @param {object} options
 * @param {() => void} options.back
 * @param {() => boolean} options.enterSends
 */
export function chat(engine, key, { back, enterSends }) {
  const group = key.startsWith('g:') ? key.slice(2) : null;
  const name = el('h1', { dir: 'auto' });
  const below = el('p', { className: 'quiet' });
  const sign = el('span', { className: 'sign' });
  const details = () => group && groupDetails(engine, group, back);
  const head = el('header', { className: 'bar chat-bar' },
    iconButton('back', t('back'), back, { className: 'icon-button back' }),
    el(group ? 'button' : 'div', { className: 'who', type: group ? 'button' : null, onclick: group ? details : null, title: group ? t('group_details') : null },
      sign, el('span', { className: 'who-names' }, name, below)),
    iconButton('more', t('menu'), (event) => openMenu(/** @type {HTMLElement} */ (event.currentTarget)), { 'aria-haspopup': 'menu' }));

  const messages = timeline(engine, key, (anchor, row) => {
    if (row.kind !== 'message' && row.kind !== 'send') return;
    const content = row.kind === 'message' ? row.message.content : row.send.request.content;
    const items = [{ label: t('copy'), act: () => void copy(content) }];
    if (row.kind === 'send' && row.send.state === 'failed') {
      const id = row.send.client_msg_id;
      items.unshift({ label: t('retry'), act: () => void engine.client?.retry(id) });
      items.push({ label: t('delete'), act: () => void engine.client?.drop(id) });
    }
    menu(anchor, items);
  });

  const draft = engine.state.talks.get(key)?.draft ?? '';
  let timer = 0;
  const writing = composer({
    draft, enterSends,
    send(text) {
      engine.send(key, text);
      messages.toBottom();
    },
    keep(text) {
      clearTimeout(timer);
      timer = window.setTimeout(() => engine.patch(key, { draft: text || undefined }), text ? 400 : 0);
      latest = text;
    },
  });
  let latest = draft;
  const outside = el('span');
  const join = el('button', { type: 'button', className: 'primary small', onclick: () => enter() }, t('join'));
  const left = el('p', { className: 'left-note', hidden: true }, outside, ' ', join);
  const enter = () => group && engine.govern('join_group', { group_id: group }).catch((error) => toast(reason(error)));
  const element = el('section', { className: 'chat', 'aria-label': engine.nameOf(key, t('notes')) }, head, messages.element, left, writing.element);

  /** @param {HTMLElement} anchor */
  const openMenu = (anchor) => {
    const muted = engine.state.talks.get(key)?.muted;
    menu(anchor, [
      ...(group ? [{ label: t('group_details'), act: () => void details() }] : []),
      { label: muted ? t('unmute') : t('mute'), act: () => engine.patch(key, { muted: !muted }) },
    ]);
  };

  const unsubscribe = engine.store.subscribe((state) => {
    const title = engine.nameOf(key, t('notes'));
    if (name.textContent !== title) put(sign, avatar(key, title));
    say(name, title);
    const talk = state.talks.get(key);
    const found = group ? state.groups.get(group) : null;
    say(below, found ? t('members', { n: found.members.length + 1 }) : '');
    below.hidden = !found;
    // A group that one is not in: left, or not joined yet.
    const stranger = !!group && !found && state.link.status === 'online' && !talk?.last;
    const out = !!talk?.left || stranger;
    say(outside, talk?.left ? t('left') : t('not_member'));
    left.hidden = !out;
    writing.element.hidden = out;
  });

  return {
    element,
    focus: () => writing.focus(),
    timeline: messages,
    close() {
      clearTimeout(timer);
      const kept = engine.state.talks.get(key);
      if ((kept?.draft ?? '') !== latest) engine.patch(key, { draft: latest || undefined });
      unsubscribe();
      messages.close();
    },
  };
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard: a field that was selected can be copied all the same.
    const area = el('textarea', { value: text, className: 'off-screen' });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  toast(t('copied'));
}
