import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Catchup } from '../../../imserver/web/sdk/catchup.js';
import { placeOf } from '../../../imserver/web/sdk/places.js';

const message = (place, more = {}) => ({
  id: `msg_${place}`, sender_id: 'bob', receiver_id: 'alice', type: 'text',
  content: `m${place}`, status: 'sent', timestamp: 0, ...more,
});
const places = (events) => events.map((event) => placeOf(event.message?.id));
const push = (catchup, place) => catchup.push('new_message', message(place), `msg_${place}`);

test('pushes wait until the sync is through, and come once', () => {
  const catchup = new Catchup({ cursor: 'msg_3' });
  push(catchup, 6);
  push(catchup, 7);
  assert.deepEqual(catchup.next(), []);
  assert.equal(catchup.ask().last_message_id, 'msg_3');
  catchup.take({ messages: [message(4), message(6)], has_more: true });
  assert.deepEqual(places(catchup.next()), [4, 6]);
  assert.equal(catchup.cursor, 'msg_6');
  assert.equal(catchup.ask().last_message_id, 'msg_6');
  catchup.take({ messages: [], has_more: false });
  assert.deepEqual(places(catchup.next()), [7]);
  push(catchup, 7);
  push(catchup, 9);
  assert.deepEqual(places(catchup.next()), [9]);
});

test('the cursor never runs ahead of what was handed out', () => {
  const catchup = new Catchup({ cursor: 'msg_1' });
  catchup.take({ messages: [message(2), message(3)], has_more: false });
  push(catchup, 4);
  assert.equal(catchup.cursor, 'msg_1');
  catchup.next(2);
  assert.equal(catchup.cursor, 'msg_3');
  catchup.disconnect();
  push(catchup, 9);
  assert.equal(catchup.ask().last_message_id, 'msg_4');
  catchup.next();
  assert.equal(catchup.cursor, 'msg_4');
});

test('changes have places in the one order; a page of changes alone moves on', () => {
  const catchup = new Catchup({ cursor: 'msg_9' });
  catchup.take({
    messages: [message(12)],
    changed: [message(2, { changed_id: 'msg_10' }), message(3, { changed_id: 'msg_13' })],
    cursor: 'msg_13',
    has_more: true,
  });
  assert.deepEqual(places(catchup.next()), [2, 12, 3]);
  assert.equal(catchup.ask().last_message_id, 'msg_13');
  catchup.take({ messages: [], changed: [], cursor: 'msg_20', has_more: false });
  assert.equal(catchup.cursor, 'msg_20');
  catchup.push('message_changed', { message: message(2, { changed_id: 'msg_19' }) }, 'msg_19');
  assert.deepEqual(catchup.next(), []);
  const change = { kind: 'edit', by: 'bob', timestamp: 1 };
  catchup.push('message_changed', { message: message(2, { changed_id: 'msg_21' }), change }, 'msg_21');
  const [event] = catchup.next();
  assert.equal(event.type, 'changed');
  assert.deepEqual(event.change, change);
});

test('a queue without room loses nothing: it is asked for again', () => {
  const catchup = new Catchup({ cursor: 'msg_0', most: 3 });
  for (const place of [1, 2, 3, 4, 5]) push(catchup, place);
  catchup.take({ messages: [message(1)], has_more: false });
  assert.equal(catchup.behind, true);
  catchup.ask();
  catchup.take({ messages: [2, 3, 4, 5].map((place) => message(place)), has_more: false });
  assert.deepEqual(places(catchup.next(10)), [1, 2, 3, 4, 5]);
  for (const place of [6, 7, 8, 9]) push(catchup, place);
  assert.equal(catchup.behind, true);
  assert.deepEqual(places(catchup.next(10)), [6, 7, 8]);
  assert.equal(catchup.ask().last_message_id, 'msg_8');
  catchup.take({ messages: [message(9)], has_more: false });
  assert.deepEqual(places(catchup.next()), [9]);
});

test('a gap is told once, failed messages too', () => {
  const catchup = new Catchup({ cursor: 'msg_1' });
  catchup.take({ messages: [message(5)], has_more: true, gap: true, oldest_message_id: 'msg_5' });
  catchup.take({ messages: [], has_more: false, gap: true, failed: ['msg_2'] });
  const events = catchup.next();
  assert.deepEqual(events.map((event) => event.type), ['gap', 'message', 'push']);
  assert.equal(events[0].oldest, 'msg_5');
  assert.deepEqual([events[2].data.message_id, events[2].data.status], ['msg_2', 'failed']);
});

test('a restored server: start anew, and say so', () => {
  const catchup = new Catchup({ cursor: 'msg_99' });
  catchup.ask();
  catchup.restart();
  assert.deepEqual(catchup.next(), [{ type: 'gap', restored: true }]);
  assert.equal(catchup.cursor, null);
  assert.equal(catchup.ask().last_message_id, undefined);
});

test('where to start without a cursor', () => {
  const unread = new Catchup({ start: 'unread', userId: 'alice' });
  assert.equal(unread.ask().include_newest, true);
  unread.take({ messages: [message(3)], has_more: true, newest_message_id: 'msg_7' });
  unread.take({
    messages: [message(4, { status: 'read' }), message(5, { sender_id: 'alice', receiver_id: 'bob' }),
      message(6), message(8, { status: 'read' })],
    has_more: false,
  });
  assert.deepEqual(places(unread.next()), [3, 6, 8]);

  const now = new Catchup({ start: 'now' });
  now.ask();
  now.take({ messages: [message(1)], has_more: true, newest_message_id: 'msg_7' });
  assert.equal(now.behind, true);
  now.take({ messages: [], has_more: false });
  assert.deepEqual(now.next(), []);
  assert.equal(now.cursor, 'msg_7');

  assert.equal(new Catchup({ start: 'beginning' }).ask().last_message_id, 'msg_0');
});

test('pushes without a place are handed out in between', () => {
  const catchup = new Catchup({ cursor: 'msg_0' });
  catchup.push('typing', { user_id: 'bob' });
  catchup.take({ messages: [message(1)], has_more: false });
  catchup.push('message_status', { message_id: 'msg_1', status: 'read' });
  assert.deepEqual(catchup.next().map((event) => event.type), ['message', 'push', 'push']);
});
