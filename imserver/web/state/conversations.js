/**
 * Conversations and their messages: pure functions from a state and what happened to the next state.
 *
 * Laws:
 *
 * - Messages stand in the server's order, by place; nothing is ordered by a clock.
 * - Of two views of one message the one with the newer change is kept. A status never goes back.
 * - A timeline is the newest part of its conversation without a hole; `hasOlder` says whether more
 *   is in the cache or on the server.
 * @module
 */

import { placeOf, versionOf } from '../sdk/places.js';

/** @typedef {import('../sdk/shapes.js').Message} Message */
/** @typedef {import('../sdk/sends.js').Send} Send */

/**
 * @typedef {object} Talk a conversation, as the list and the cache have it
 * @property {string} key `u:<user id>` or `g:<group id>`
 * @property {string} [name] of a group
 * @property {Message | null} last
 * @property {number} unread
 * @property {number} mentions
 * @property {number} read my own watermark, a place
 * @property {number} peerRead in direct conversations, a place
 * @property {number} peerDelivered
 * @property {boolean} [left] of a group that I am not in any more
 * @property {string} [draft]
 * @property {boolean} [muted]
 */

/**
 * @typedef {object} Timeline
 * @property {Message[]} messages in the order of their places
 * @property {boolean} hasOlder
 */

/**
 * @typedef {object} Talks
 * @property {string} me
 * @property {ReadonlyMap<string, Talk>} talks
 * @property {ReadonlyMap<string, Timeline>} timelines of those that were opened
 * @property {readonly Send[]} sends those that wait or failed, in the order of their writing
 */

/** @param {string} me @returns {Talks} */
export function noTalks(me) {
  return { me, talks: new Map(), timelines: new Map(), sends: [] };
}

/**
 * The conversation that a message, a send or a request belongs to.
 * @param {string} me
 * @param {{sender_id?: string, receiver_id?: string, group_id?: string}} message
 */
export function keyOf(me, message) {
  if (message.group_id) return `g:${message.group_id}`;
  const other = message.receiver_id === me ? (message.sender_id ?? me) : message.receiver_id;
  return `u:${other}`;
}

/**
 * Where a request about a conversation goes.
 * @param {string} key
 * @returns {{user_id: string} | {group_id: string}}
 */
export function placeFor(key) {
  return key.startsWith('g:') ? { group_id: key.slice(2) } : { user_id: key.slice(2) };
}

/** @param {string} key @returns {Talk} */
export function emptyTalk(key) {
  return { key, last: null, unread: 0, mentions: 0, read: 0, peerRead: 0, peerDelivered: 0 };
}

/**
 * Whether a message is one that somebody has to read.
 * @param {Talks} state
 * @param {Message} message
 * @param {Talk} talk
 */
function isUnread(state, message, talk) {
  return (
    message.sender_id !== state.me &&
    message.type !== 'system' &&
    message.status !== 'read' &&
    !message.recalled &&
    placeOf(message.id) > talk.read
  );
}

/**
 * New messages, in the server's order.
 * @param {Talks} state
 * @param {readonly Message[]} messages
 * @returns {Talks}
 */
export function receive(state, messages) {
  const talks = new Map(state.talks);
  const timelines = new Map(state.timelines);
  /** @type {Set<Timeline>} */
  const copied = new Set();
  const own = new Set();
  for (const message of messages) {
    const key = keyOf(state.me, message);
    const talk = { ...(talks.get(key) ?? emptyTalk(key)) };
    talks.set(key, talk);
    const place = placeOf(message.id);
    const isNew = !talk.last || place > placeOf(talk.last.id);
    if (isNew) {
      talk.last = message;
      if (isUnread(state, message, talk)) {
        talk.unread += 1;
        if (message.mentions?.includes(state.me) || message.mention_all) talk.mentions += 1;
      } else if (message.status === 'read' && message.sender_id !== state.me) {
        talk.read = Math.max(talk.read, place);
      }
      applyEvent(state.me, talk, message);
    }
    if (message.sender_id === state.me && message.client_msg_id) own.add(message.client_msg_id);
    let timeline = timelines.get(key);
    if (!timeline) continue;
    if (!copied.has(timeline)) {
      timeline = { ...timeline, messages: [...timeline.messages] };
      copied.add(timeline);
      timelines.set(key, timeline);
    }
    insert(timeline.messages, message);
  }
  const sends = own.size ? state.sends.filter((send) => !own.has(send.client_msg_id)) : state.sends;
  return { ...state, talks, timelines, sends };
}

/**
 * What a system message says of my own membership.
 * @param {string} me
 * @param {Talk} talk
 * @param {Message} message
 */
function applyEvent(me, talk, message) {
  const { event } = message;
  if (!event) return;
  if (event.kind === 'dissolved') talk.left = true;
  else if ((event.kind === 'leave' || event.kind === 'removed') && event.user_id === me) talk.left = true;
  else if ((event.kind === 'join' || event.kind === 'added') && event.user_id === me) talk.left = false;
}

/**
 * Messages as they are now, after a change.
 * @param {Talks} state
 * @param {readonly Message[]} messages
 * @returns {Talks}
 */
export function change(state, messages) {
  const talks = new Map(state.talks);
  const timelines = new Map(state.timelines);
  for (const message of messages) {
    const key = keyOf(state.me, message);
    const talk = talks.get(key);
    if (!talk) continue;
    const place = placeOf(message.id);
    const next = { ...talk };
    if (talk.last && talk.last.id === message.id) next.last = newer(talk.last, message);
    const timeline = timelines.get(key);
    const old = timeline && find(timeline.messages, place);
    if (message.recalled && old && isUnread(state, old, talk) && talk.unread > 0) next.unread -= 1;
    talks.set(key, next);
    if (timeline && old) timelines.set(key, { ...timeline, messages: replace(timeline.messages, message) });
  }
  return { ...state, talks, timelines };
}

/**
 * I have read a conversation up to a place: here, or on another device.
 * @param {Talks} state
 * @param {string} key
 * @param {number} place
 * @returns {Talks}
 */
export function read(state, key, place) {
  const talk = state.talks.get(key);
  if (!talk || (place <= talk.read && talk.unread === 0)) return state;
  const next = { ...talk, read: Math.max(talk.read, place) };
  const timeline = state.timelines.get(key);
  if (!talk.last || place >= placeOf(talk.last.id)) {
    next.unread = next.mentions = 0;
  } else if (timeline) {
    const left = timeline.messages.filter((message) => isUnread(state, message, next));
    next.unread = left.length;
    next.mentions = left.filter((message) => message.mentions?.includes(state.me)).length;
  }
  return { ...state, talks: new Map(state.talks).set(key, next) };
}

/**
 * Somebody has come so far with a message of mine.
 * @param {Talks} state
 * @param {string} key
 * @param {{message_id: string, status: string, user_id: string, cumulative?: boolean}} news
 * @returns {Talks}
 */
export function status(state, key, news) {
  const talk = state.talks.get(key);
  if (!talk) return state;
  const place = placeOf(news.message_id);
  if (news.user_id === state.me) {
    return news.status === 'read' && news.cumulative ? read(state, key, place) : state;
  }
  if (news.cumulative && key.startsWith('u:')) {
    const next = { ...talk, peerDelivered: Math.max(talk.peerDelivered, place) };
    if (news.status === 'read') next.peerRead = Math.max(talk.peerRead, place);
    return { ...state, talks: new Map(state.talks).set(key, next) };
  }
  const old = messageIn(state, key, news.message_id);
  if (!old || rank(news.status) <= rank(old.status) || (key.startsWith('g:') && news.status !== 'failed')) {
    return state;
  }
  const message = { ...old, status: /** @type {Message['status']} */ (news.status) };
  return change(state, [message]);
}

/**
 * How far a message of mine has come.
 * @param {Talk} talk
 * @param {Message} message
 */
export function statusOf(talk, message) {
  if (message.status === 'failed' || message.status === 'read') return message.status;
  const place = placeOf(message.id);
  if (place <= talk.peerRead) return 'read';
  if (place <= talk.peerDelivered) return 'delivered';
  return message.status;
}

/**
 * Older messages, from the cache or the server.
 * @param {Talks} state
 * @param {string} key
 * @param {readonly Message[]} messages
 * @param {boolean} hasOlder
 * @returns {Talks}
 */
export function addOlder(state, key, messages, hasOlder) {
  const timeline = state.timelines.get(key);
  const merged = [...messages];
  for (const message of timeline?.messages ?? []) insert(merged, message);
  const timelines = new Map(state.timelines).set(key, { messages: merged, hasOlder });
  return { ...state, timelines };
}

/**
 * Change something of one conversation's own.
 * @param {Talks} state
 * @param {string} key
 * @param {Partial<Talk>} values
 * @returns {Talks}
 */
export function patch(state, key, values) {
  const talk = { ...(state.talks.get(key) ?? emptyTalk(key)), ...values };
  return { ...state, talks: new Map(state.talks).set(key, talk) };
}

/**
 * What became of a send.
 * @param {Talks} state
 * @param {import('../sdk/options.js').SendEvent} event
 * @returns {Talks}
 */
export function sendChanged(state, event) {
  const id = event.send.client_msg_id;
  if (event.type === 'sent') return receive(without(state, id), [event.message]);
  if (event.type === 'dropped') return without(state, id);
  const send = { ...event.send };
  const at = state.sends.findIndex((one) => one.client_msg_id === id);
  const sends = at < 0 ? [...state.sends, send] : state.sends.with(at, send);
  const key = keyOf(state.me, send.request);
  return state.talks.has(key) ? { ...state, sends } : patch({ ...state, sends }, key, {});
}

/** @param {Talks} state @param {string} id @returns {Talks} */
function without(state, id) {
  return { ...state, sends: state.sends.filter((send) => send.client_msg_id !== id) };
}

/**
 * The conversations as the list shows them: what waits to be sent first, then the newest.
 * @param {Talks} state
 * @returns {Talk[]}
 */
export function sorted(state) {
  const waiting = new Set(state.sends.map((send) => keyOf(state.me, send.request)));
  /** @param {Talk} talk */
  const weight = (talk) => (waiting.has(talk.key) ? Infinity : placeOf(talk.last?.id));
  const weighed = Array.from(state.talks.values(), (talk) => ({ talk, by: weight(talk) }));
  weighed.sort((a, b) => (a.by === b.by ? (a.talk.key < b.talk.key ? -1 : 1) : b.by > a.by ? 1 : -1));
  return weighed.map(({ talk }) => talk);
}

/** @param {Talks} state @param {string} key @param {string} id */
export function messageIn(state, key, id) {
  const timeline = state.timelines.get(key);
  const found = timeline && find(timeline.messages, placeOf(id));
  const last = state.talks.get(key)?.last;
  return found ?? (last?.id === id ? last : undefined);
}

/**
 * The conversation of a message that is loaded.
 * @param {Talks} state
 * @param {string} id
 */
export function whereIs(state, id) {
  for (const key of state.talks.keys()) if (messageIn(state, key, id)) return key;
  return null;
}

// -- sorted arrays of messages ------------------------------------------------------------------

/** The first index whose place is `place` or more. @param {readonly Message[]} messages @param {number} place */
export function indexOf(messages, place) {
  let [low, high] = [0, messages.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (placeOf(messages[middle].id) < place) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {readonly Message[]} messages @param {number} place */
function find(messages, place) {
  const message = messages[indexOf(messages, place)];
  return message && placeOf(message.id) === place ? message : undefined;
}

/** @param {Message[]} messages @param {Message} message */
function insert(messages, message) {
  const at = indexOf(messages, placeOf(message.id));
  const old = messages[at];
  if (old && old.id === message.id) messages[at] = newer(old, message);
  else messages.splice(at, 0, message);
}

/** @param {readonly Message[]} messages @param {Message} message */
function replace(messages, message) {
  const copy = [...messages];
  insert(copy, message);
  return copy;
}

const RANKS = ['sent', 'delivered', 'read', 'failed'];

/** @param {string} name */
function rank(name) {
  return RANKS.indexOf(name);
}

/** Of two views of one message the newer one. @param {Message} a @param {Message} b @returns {Message} */
export function newer(a, b) {
  const kept = versionOf(a) > versionOf(b) ? a : b;
  const best = rank(a.status) > rank(b.status) ? a.status : b.status;
  return kept.status === best ? kept : { ...kept, status: best };
}
