/**
 * How one message looks.
 * @module
 */

import { fullTime, t, timeOfDay } from '../i18n/texts.js';
import { statusOf } from '../state/conversations.js';
import { parse } from '../text/markup.js';
import { colour } from '../text/names.js';
import { avatar } from './avatar.js';
import { el, icon, iconButton } from './dom.js';

/** @typedef {import('../sdk/shapes.js').Message} Message */
/** @typedef {import('../text/markup.js').Inline} Inline */

const LONG = 2_000; // characters; a longer one is folded

const STATUS = /** @type {const} */ ({
  queued: ['clock', 'status_queued'],
  sent: ['check', 'status_sent'],
  delivered: ['checks', 'status_delivered'],
  read: ['checks', 'status_read'],
  failed: ['alert', 'status_failed'],
});

/** @param {keyof typeof STATUS} name */
export function statusIcon(name) {
  const [sign, label] = STATUS[name];
  return el('span', { className: `ticks ${name}`, role: 'img', 'aria-label': t(label), title: t(label) }, icon(sign));
}

/** What a system message says. @param {Message} message */
export function eventText({ event, content }) {
  if (!event) return content;
  const kind = event.kind === 'role' ? `role_${event.role}` : event.kind;
  const texts = {
    added: 'event_added', created: 'event_created', dissolved: 'event_dissolved', join: 'event_join', leave: 'event_leave',
    removed: 'event_removed', role_admin: 'event_role_admin', role_member: 'event_role_member', transfer: 'event_transfer',
    updated: 'event_updated',
  };
  const key = Reflect.get(texts, kind);
  return key ? t(key, { by: event.by, user: event.user_id }) : content;
}

/**
 * @param {import('../state/rows.js').Row & {kind: 'message' | 'send'}} row
 * @param {object} context
 * @param {import('../state/conversations.js').Talk} context.talk
 * @param {string} context.me
 * @param {(anchor: HTMLElement) => void} context.actions
 */
export function messageRow(row, { talk, me, actions }) {
  const message = row.kind === 'message' ? row.message : null;
  const send = row.kind === 'send' ? row.send : null;
  const mine = !message || message.sender_id === me;
  const at = message?.timestamp ?? send?.created_at ?? 0;
  const content = message?.content ?? send?.request.content ?? '';
  const grouped = talk.key.startsWith('g:');
  const sender = message?.sender_id ?? me;
  const status = send ? (send.state === 'failed' ? 'failed' : 'queued') : message && mine ? statusOf(talk, message) : null;
  const failed = send?.state === 'failed';
  const more = iconButton('more', t('message_actions'), (event) => actions(/** @type {HTMLElement} */ (event.currentTarget)),
    { className: 'icon-button act', 'aria-haspopup': 'menu' });
  const bubble = el('div', { className: 'bubble' },
    grouped && !mine && row.first && el('div', { className: `sender tone-${colour(`u:${sender}`)}`, dir: 'auto' }, sender),
    message?.recalled ? el('i', { className: 'quiet' }, t('recalled')) : body(content),
    el('span', { className: 'meta' },
      message?.edited_at ? `${t('edited')} ` : '',
      el('time', { dateTime: new Date(at).toISOString(), title: fullTime(at) }, timeOfDay(at)),
      status && !failed && talk.key !== `u:${me}` && statusIcon(status)));
  return el('article', {
    className: `message${mine ? ' mine' : ''}${row.first ? ' first' : ''}${row.last ? ' last' : ''}${send ? ' waiting' : ''}${failed ? ' failed' : ''}`,
    'aria-label': `${mine ? t('mine') : sender}, ${timeOfDay(at)}`,
  },
    grouped && !mine && el('span', { className: 'gutter' }, row.last && avatar(`u:${sender}`, sender)),
    bubble, more,
    failed && el('p', { className: 'problem' }, icon('alert'), t('failed')));
}

/** The text of a message, with its markup. @param {string} content */
export function body(content) {
  const only = onlyEmoji(content);
  const element = el('div', { className: `text${only ? ' big' : ''}`, dir: 'auto' });
  const long = content.length > LONG;
  if (long) {
    element.append(...blocks(content.slice(0, LONG)), '…');
    element.append(el('button', { type: 'button', className: 'link-button', onclick: () => element.replaceChildren(...blocks(content)) }, t('more')));
  } else {
    element.append(...blocks(content));
  }
  return element;
}

/** @param {string} content */
function onlyEmoji(content) {
  return content.length <= 24 && /^(?:\p{RGI_Emoji}\s*){1,3}$/v.test(content.trim());
}

/** @param {string} content */
function blocks(content) {
  return parse(content).map((block) => {
    if (block.kind === 'pre') return el('pre', {}, block.text);
    if (block.kind === 'quote') return el('blockquote', {}, ...inline(block.children));
    if (block.kind === 'list') return el('ul', {}, ...block.items.map((item) => el('li', {}, ...inline(item))));
    return el('p', {}, ...inline(block.children));
  });
}

/** @param {Inline[]} children @returns {Node[]} */
function inline(children) {
  return children.map((child) => {
    switch (child.kind) {
      case 'text':
        return document.createTextNode(child.text);
      case 'code':
        return el('code', {}, child.text);
      case 'link':
        return el('a', { href: child.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, child.text);
      default:
        return el(child.kind, {}, ...inline(child.children));
    }
  });
}
