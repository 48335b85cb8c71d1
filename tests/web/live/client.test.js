/** The SDK against the real server, which is killed and started again. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { OPERATIONS, Refused, openClient, placeOf } from '../../../imserver/web/sdk/imserver.js';
import { startServer, until } from '../support/server.js';

const server = await startServer();
after(() => server.dispose());

const patience = { firstDelay: 50, mostDelay: 200, connect: 3000 };

/** A client that keeps what it was given, as a program with a store does. */
async function open(userId, options = {}) {
  const kept = { messages: [], cursor: null, batches: 0, states: [], sends: [], events: [] };
  const client = await openClient({
    url: server.url,
    login: { user_id: userId },
    patience,
    take: ({ events, cursor }) => {
      kept.batches += 1;
      kept.cursor = cursor;
      for (const event of events) {
        kept.events.push(event);
        if (event.type === 'message') kept.messages.push(event.message);
      }
    },
    onstate: (state) => kept.states.push(state.status),
    onsend: (event) => kept.sends.push(event),
    ...options,
  });
  return { client, kept };
}

const contents = (kept) => kept.messages.map((message) => message.content);

test('messages come once and in order across kills of the server', { timeout: 120_000 }, async () => {
  const alice = await open('alice', { start: 'now' });
  const bob = await open('bob', { start: 'now' });
  await until(() => alice.client.state.status === 'online' && bob.client.state.status === 'online');
  const expected = [];
  const stored = [];
  for (let round = 0; round < 4; round += 1) {
    for (let n = 0; n < 25; n += 1) {
      const content = `${round}.${n}`;
      expected.push(content);
      stored.push(alice.client.send({ receiver_id: 'bob', content }));
      if (n === 12) {
        await new Promise((resolve) => setTimeout(resolve, round * 7));
        await server.kill();
      }
    }
    await server.start();
    alice.client.wake();
  }
  const messages = await Promise.all(stored);
  assert.deepEqual(messages.map((message) => message.content), expected);
  await until(() => bob.kept.messages.length >= expected.length, 'all messages');
  await until(() => alice.kept.messages.length >= expected.length, 'the own messages');
  assert.deepEqual(contents(bob.kept), expected);
  assert.deepEqual(contents(alice.kept), expected);
  const places = bob.kept.messages.map((message) => placeOf(message.id));
  assert.deepEqual(places, [...places].sort((a, b) => a - b));
  alice.client.close();
  bob.client.close();
});

test('a program that starts again goes on where it was', { timeout: 60_000 }, async () => {
  const first = await open('carol', { start: 'beginning' });
  const dave = await open('dave');
  await dave.client.send({ receiver_id: 'carol', content: 'one' });
  await until(() => first.kept.messages.length === 1);
  first.client.close();
  await dave.client.send({ receiver_id: 'carol', content: 'two' });
  await dave.client.send({ receiver_id: 'carol', content: 'three' });
  const second = await open('carol', { cursor: first.kept.cursor });
  await until(() => second.kept.messages.length === 2);
  assert.deepEqual(contents(second.kept), ['two', 'three']);
  second.client.close();
  dave.client.close();
});

test('a send that waits in its storage is sent once, whoever takes it up', { timeout: 60_000 }, async () => {
  const sends = new Map();
  const storage = {
    load: async () => structuredClone([...sends.values()]),
    put: async (send) => void sends.set(send.client_msg_id, structuredClone(send)),
    remove: async (id) => void sends.delete(id),
  };
  await server.kill();
  const first = await open('erin', { storage });
  first.client.send({ receiver_id: 'frank', content: 'offline' }).catch(() => {});
  await until(() => sends.size === 1);
  first.client.close();
  await server.start();
  const [a, b] = await Promise.all([open('erin', { storage }), open('erin', { storage })]);
  await until(() => sends.size === 0);
  const frank = await open('frank', { start: 'beginning' });
  await until(() => frank.client.state.status === 'online');
  assert.deepEqual(contents(frank.kept), ['offline']);
  for (const one of [a, b, frank]) one.client.close();
});

test('refusals', { timeout: 60_000 }, async () => {
  const grace = await open('grace');
  const refused = grace.client.send({ group_id: 'group_000000000000', content: 'x' });
  await assert.rejects(refused, (error) => error instanceof Refused && error.code === 'not_found');
  await grace.client.send({ receiver_id: 'grace', content: 'later ones go on' });
  const [send] = grace.client.sends.all.values();
  assert.equal(send.state, 'failed');
  assert.equal(await grace.client.drop(send.client_msg_id), true);
  await assert.rejects(grace.client.call('get_message', { message_id: 'msg_999999' }), { code: 'not_found' });
  await assert.rejects(grace.client.rest.call('get_group', { group_id: 'group_x' }), { code: 'not_found' });
  grace.client.close();
  const system = await open('system');
  await until(() => system.client.state.status === 'refused');
  await assert.rejects(system.client.call('list_groups'), { code: 'forbidden' });
  system.client.close();
});

test('a Chinese user is one user over both transports', { timeout: 60_000 }, async () => {
  const ming = await open('小明');
  const { group } = await ming.client.call('create_group', { name: '家', members: [] });
  const { groups } = await ming.client.rest.call('list_groups');
  assert.deepEqual(groups.map((one) => one.id), [group.id]);
  ming.client.close();
});

test('a cursor beyond everything: the program is told, and begins anew', { timeout: 60_000 }, async () => {
  const henry = await open('henry', { cursor: 'msg_99999999' });
  await until(() => henry.client.state.status === 'online');
  assert.deepEqual(henry.kept.events[0], { type: 'gap', restored: true });
  await henry.client.send({ receiver_id: 'henry', content: 'again' });
  await until(() => contents(henry.kept).includes('again'));
  henry.client.close();
});

test('the table says what the server says', async () => {
  const description = await (await fetch(`${server.url}/openapi.json`)).json();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, { operationId }] of Object.entries(methods)) {
      // An operation on either kind of conversation is described at two paths, each with its own id.
      const row = OPERATIONS[operationId.replace(/_of_group$/, '')];
      if (!row) assert.fail(`${operationId} is not in the table`);
      const place = operationId.endsWith('_of_group') ? 'groups/{group_id}' : 'users/{user_id}';
      assert.equal(path, row.path.replace('{place}', place), operationId);
      assert.equal(row.method, method.toUpperCase(), operationId);
    }
  }
});
