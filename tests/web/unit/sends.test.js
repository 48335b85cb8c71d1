import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../../../imserver/web/sdk/backoff.js';
import { ConnectionLost, Refused } from '../../../imserver/web/sdk/errors.js';
import { OPERATIONS, restOf } from '../../../imserver/web/sdk/operations.js';
import { placeOf, versionOf } from '../../../imserver/web/sdk/places.js';
import { Requests } from '../../../imserver/web/sdk/requests.js';
import { Sends } from '../../../imserver/web/sdk/sends.js';

const send = (id, to = 'bob') => ({
  client_msg_id: id, request: { receiver_id: to, content: id }, created_at: 0, state: 'queued',
});
const ids = (list) => list.map((one) => one.client_msg_id);

test('one send of a conversation is under way, in the order of writing', () => {
  const sends = new Sends();
  for (const one of [send('1'), send('2'), send('3', 'carol')]) sends.add(one);
  assert.deepEqual(ids(sends.due(0)), ['1', '3']);
  assert.deepEqual(sends.due(0), []);
  sends.succeed('1');
  assert.deepEqual(ids(sends.due(0)), ['2']);
});

test('a lost connection and a rate limit keep the order', () => {
  const sends = new Sends();
  for (const one of [send('1'), send('2')]) sends.add(one);
  sends.due(0);
  assert.equal(sends.fail('1', new ConnectionLost('gone'), 100), null);
  assert.deepEqual(ids(sends.due(100)), ['1']);
  sends.fail('1', new Refused('rate_limited', 'slow down', 500), 100);
  assert.deepEqual(sends.due(200), []);
  assert.equal(sends.nextDue(), 0); // 2 waits for 1 only
  assert.deepEqual(ids(sends.due(600)), ['1']);
});

test('what is refused for good is kept, holds up nothing, and can be tried again', () => {
  const sends = new Sends();
  for (const one of [send('1'), send('2')]) sends.add(one);
  sends.due(0);
  assert.equal(sends.drop('1'), false);
  const failed = sends.fail('1', new Refused('forbidden', 'no'), 0);
  assert.deepEqual([failed.state, failed.error.code], ['failed', 'forbidden']);
  assert.deepEqual(ids(sends.due(0)), ['2']);
  sends.retry('1');
  sends.succeed('2');
  assert.deepEqual(ids(sends.due(0)), ['1']);
  sends.succeed('1');
  assert.equal(sends.all.size, 0);
});

test('answers are told apart by their ids', async () => {
  const requests = new Requests();
  const first = requests.make('get_group', {}, 5);
  const second = requests.make('ack', {}, 5);
  assert.deepEqual(JSON.parse(first.frame), { type: 'get_group', data: {}, timestamp: 5, message_id: 'c1' });
  assert.equal(requests.take({ type: 'new_message', data: {}, message_id: 'msg_1' }), false);
  assert.equal(requests.take({ type: 'ack', data: { success: true }, message_id: 'c2' }), true);
  requests.take({ type: 'error', data: { error: 'No', code: 'unknown_type' }, message_id: 'c1' });
  assert.deepEqual(await second.answer, { success: true });
  await assert.rejects(first.answer, { code: 'unknown_type' });
  const third = requests.make('ack', {}, 5);
  requests.fail();
  await assert.rejects(third.answer, { code: 'connection_lost' });
});

test('delays double up to a limit', () => {
  const backoff = new Backoff(500, 1500, () => 1);
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next()], [500, 1000, 1500]);
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test('requests over REST', () => {
  const rest = (name, request) => restOf(OPERATIONS[name], request);
  assert.deepEqual(rest('add_reaction', { message_id: 'msg_1', emoji: '👍🏽' }), {
    method: 'PUT', path: '/api/v1/messages/msg_1/reactions/%F0%9F%91%8D%F0%9F%8F%BD', body: {},
  });
  assert.deepEqual(rest('get_history', { user_id: 'a/b 明', limit: 5 }), {
    method: 'GET', path: '/api/v1/users/a%2Fb%20%E6%98%8E/messages?limit=5', body: null,
  });
  assert.equal(rest('mark_read', { group_id: 'group_x' }).path, '/api/v1/groups/group_x/conversation/read');
  assert.throws(() => rest('get_group', {}), /group_id/);
  assert.throws(() => rest('typing', {}), /WebSockets/);
});

test('places', () => {
  assert.equal(placeOf('msg_12'), 12);
  for (const bad of ['msg_', 'msg_01', 'msg_-1', 'group_1', '', null, undefined, 'msg_1x']) {
    assert.equal(placeOf(bad), -1);
  }
  assert.equal(versionOf({ id: 'msg_3', changed_id: 'msg_8' }), 8);
  assert.equal(versionOf({ id: 'msg_3' }), 3);
});
