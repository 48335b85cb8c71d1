import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  addOlder, change, keyOf, newer, noTalks, patch, read, receive, sendChanged, sorted, status, statusOf,
} from '../../../imserver/web/state/conversations.js';
import { rowsOf } from '../../../imserver/web/state/rows.js';

const say = (place, more = {}) => ({
  id: `msg_${place}`, sender_id: 'bob', receiver_id: 'me', type: 'text', content: `m${place}`,
  status: 'sent', timestamp: place * 1000, ...more,
});
const mine = (place, more = {}) => say(place, { sender_id: 'me', receiver_id: 'bob', ...more });
const ids = (list) => list.map((message) => message.id);
const open = (state, key) => addOlder(state, key, [], false);

test('where a message belongs', () => {
  assert.equal(keyOf('me', say(1)), 'u:bob');
  assert.equal(keyOf('me', mine(1)), 'u:bob');
  assert.equal(keyOf('me', say(1, { sender_id: 'me', receiver_id: 'me' })), 'u:me');
  assert.equal(keyOf('me', say(1, { receiver_id: undefined, group_id: 'group_x' })), 'g:group_x');
});

test('messages stand by place, whatever the order of their coming, and once', () => {
  let state = open(noTalks('me'), 'u:bob');
  state = receive(state, [say(5), say(2), say(9), say(5, { timestamp: 1 })]);
  assert.deepEqual(ids(state.timelines.get('u:bob').messages), ['msg_2', 'msg_5', 'msg_9']);
  assert.equal(state.talks.get('u:bob').last.id, 'msg_9');
});

test('a clock that is wrong changes nothing', () => {
  let state = open(noTalks('me'), 'u:bob');
  state = receive(state, [say(1, { timestamp: 9e12 }), mine(2, { timestamp: 5 })]);
  assert.deepEqual(ids(state.timelines.get('u:bob').messages), ['msg_1', 'msg_2']);
  state = receive(state, [say(3, { sender_id: 'carol', timestamp: 0 })]);
  assert.deepEqual(sorted(state).map((talk) => talk.key), ['u:carol', 'u:bob']);
});

test('unread: not my own, not the system\'s, not what I read elsewhere', () => {
  let state = receive(noTalks('me'), [
    say(1, { status: 'read' }), mine(2), say(3), say(4),
    say(5, { sender_id: 'system', type: 'system' }), say(6, { mentions: ['me'] }),
  ]);
  assert.equal(state.talks.get('u:bob').unread, 3);
  assert.equal(state.talks.get('u:bob').mentions, 1);
  state = read(state, 'u:bob', 6);
  assert.deepEqual([state.talks.get('u:bob').unread, state.talks.get('u:bob').mentions], [0, 0]);
  state = receive(state, [say(6), say(7)]);
  assert.equal(state.talks.get('u:bob').unread, 1);
});

test('read on another device, up to the middle', () => {
  let state = receive(open(noTalks('me'), 'u:bob'), [say(1), say(2), say(3)]);
  state = status(state, 'u:bob', { message_id: 'msg_2', status: 'read', user_id: 'me', cumulative: true });
  assert.equal(state.talks.get('u:bob').unread, 1);
});

test('ticks never go back', () => {
  let state = receive(open(noTalks('me'), 'u:bob'), [mine(1), mine(2)]);
  state = status(state, 'u:bob', { message_id: 'msg_2', status: 'read', user_id: 'bob', cumulative: true });
  state = status(state, 'u:bob', { message_id: 'msg_2', status: 'delivered', user_id: 'bob', cumulative: true });
  assert.equal(statusOf(state.talks.get('u:bob'), mine(1)), 'read');
  assert.equal(statusOf(state.talks.get('u:bob'), mine(3)), 'sent');
  assert.equal(newer(mine(1, { status: 'read' }), mine(1)).status, 'read');
});

test('of two views the one with the newer change is kept', () => {
  let state = receive(open(noTalks('me'), 'u:bob'), [say(1)]);
  state = change(state, [say(1, { content: 'second', changed_id: 'msg_8' })]);
  state = change(state, [say(1, { content: 'first', changed_id: 'msg_5' })]);
  state = receive(state, [say(1)]);
  assert.equal(state.timelines.get('u:bob').messages[0].content, 'second');
  assert.equal(state.talks.get('u:bob').last.content, 'second');
});

test('a recalled message is not unread', () => {
  let state = receive(open(noTalks('me'), 'u:bob'), [say(1), say(2)]);
  state = change(state, [say(2, { recalled: true, content: '', changed_id: 'msg_3' })]);
  assert.equal(state.talks.get('u:bob').unread, 1);
});

test('a send waits, and becomes its message', () => {
  const send = { client_msg_id: 'a', request: { receiver_id: 'bob', content: 'x' }, created_at: 1, state: 'queued' };
  let state = sendChanged(open(noTalks('me'), 'u:bob'), { type: 'queued', send });
  state = receive(state, [say(7, { sender_id: 'carol' })]);
  assert.deepEqual(sorted(state).map((talk) => talk.key), ['u:bob', 'u:carol']);
  state = sendChanged(state, { type: 'failed', send: { ...send, state: 'failed' } });
  assert.equal(state.sends[0].state, 'failed');
  state = sendChanged(state, { type: 'sent', send, message: mine(9) });
  assert.equal(state.sends.length, 0);
  assert.deepEqual(ids(state.timelines.get('u:bob').messages), ['msg_9']);
  state = receive(state, [mine(9)]);
  assert.equal(state.timelines.get('u:bob').messages.length, 1);
});

test('a message that another tab sent takes its waiting twin away', () => {
  const send = { client_msg_id: 'a', request: { receiver_id: 'bob', content: 'x' }, created_at: 1, state: 'queued' };
  let state = sendChanged(noTalks('me'), { type: 'queued', send });
  state = receive(state, [mine(9, { client_msg_id: 'a' })]);
  assert.equal(state.sends.length, 0);
});

test('what says nothing new gives the same state', () => {
  const state = patch(noTalks('me'), 'u:bob', {});
  assert.equal(read(state, 'u:bob', 0), state);
  assert.equal(status(state, 'u:nobody', { message_id: 'msg_1', status: 'read', user_id: 'x' }), state);
});

test('who was removed from a group has left it', () => {
  const event = (place, kind, user) => say(place, {
    sender_id: 'system', type: 'system', receiver_id: undefined, group_id: 'group_x', event: { kind, user_id: user, by: 'bob' },
  });
  let state = receive(noTalks('me'), [event(1, 'added', 'me'), event(2, 'removed', 'me')]);
  assert.equal(state.talks.get('g:group_x').left, true);
  state = receive(state, [event(3, 'join', 'me')]);
  assert.equal(state.talks.get('g:group_x').left, false);
});

test('rows: days, groups, and the line above the first unread', () => {
  const day = 86_400_000;
  const rows = rowsOf([
    say(1, { timestamp: day }), say(2, { timestamp: day + 1000 }), mine(3, { timestamp: day + 2000 }),
    say(4, { timestamp: day + 3000 }), say(5, { timestamp: 3 * day }),
  ], [{ client_msg_id: 'a', request: {}, created_at: 1, state: 'queued' }], 'me', 3);
  assert.deepEqual(rows.map((row) => row.kind), [
    'day', 'message', 'message', 'message', 'unread', 'message', 'day', 'message', 'send',
  ]);
  assert.deepEqual(rows.filter((row) => 'first' in row).map((row) => [row.first, row.last]), [
    [true, false], [false, true], [true, true], [true, true], [true, true], [true, true],
  ]);
});
