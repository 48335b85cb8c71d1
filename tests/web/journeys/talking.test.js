/** People talk: two browsers at once, over the real server. */
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';

import { openClient } from '../../../imserver/web/sdk/imserver.js';
import { Person, launch } from '../support/browser.js';
import { startServer, until } from '../support/server.js';

const server = await startServer();
const browser = await launch();
const people = [];
after(async () => {
  await browser.close();
  await server.dispose();
});
afterEach(async () => {
  const faults = people.flatMap((person) => person.faults);
  for (const person of people.splice(0)) await person.leave();
  assert.deepEqual(faults, []);
});

async function come(name, options) {
  const person = await Person.named(browser, server.url, name, options);
  people.push(person);
  return person;
}

const TIME = { timeout: 90_000 };

test('two people find each other, talk, and see what became of their messages', TIME, async () => {
  const [ann, ben] = await Promise.all([come('ann'), come('ben')]);
  await ann.page.getByRole('button', { name: 'Write to somebody' }).click();
  await ann.page.getByLabel('Name of the person').fill('ben');
  await ann.page.keyboard.press('Enter');
  await ann.write('Hello *Ben*, see https://example.org/a_(b).');
  await ann.message('Hello Ben').getByRole('img', { name: 'Delivered' }).waitFor();
  await until(async () => (await ben.page.title()) === '(1) imserver');
  const row = ben.page.getByRole('option', { name: /ann/ });
  assert.match(await row.textContent(), /Hello .*1/);
  await row.click();
  const link = ben.page.locator('.message a');
  assert.equal(await link.getAttribute('href'), 'https://example.org/a_(b)');
  assert.match(await link.getAttribute('rel'), /noopener/);
  await ann.message('Hello Ben').getByRole('img', { name: 'Read' }).waitFor();
  await ben.write('Hello Ann');
  await ann.message('Hello Ann').waitFor();
  assert.equal(await ben.page.title(), 'imserver');
  assert.equal(new URL(ben.page.url()).pathname, '/c/u/ann');
  await ben.page.reload();
  await ben.message('Hello Ann').waitFor();
  assert.deepEqual(await ben.texts(), ['Hello Ben, see https://example.org/a_(b).', 'Hello Ann']);
});

test('what is written while the server is away is sent once, in order, after a reload too', TIME, async () => {
  const [cat, dan] = await Promise.all([come('cat'), come('dan')]);
  await cat.openChat('u:dan');
  await dan.openChat('u:cat');
  await cat.write('before');
  await dan.message('before').waitFor();
  await server.kill();
  for (const text of ['one', 'two', 'three']) await cat.write(text);
  await cat.message('three').getByRole('img', { name: 'Waiting to be sent' }).waitFor();
  await cat.page.getByText('Offline.').waitFor();
  await cat.page.reload();
  await cat.message('three').getByRole('img', { name: 'Waiting to be sent' }).waitFor();
  await cat.write('four');
  await server.start();
  await cat.page.getByRole('button', { name: 'Try now' }).click().catch(() => {});
  await cat.message('four').getByRole('img', { name: /Sent|Delivered|Read/ }).waitFor();
  await dan.message('four').waitFor();
  const expected = ['before', 'one', 'two', 'three', 'four'];
  assert.deepEqual(await dan.texts(), expected);
  assert.deepEqual(await cat.texts(), expected);
  await cat.page.reload();
  await cat.message('four').waitFor();
  assert.deepEqual(await cat.texts(), expected);
});

test('two tabs of one browser: both see everything once', TIME, async () => {
  const eva = await come('eva');
  const second = await eva.context.newPage();
  await second.goto(`${server.url}/c/u/fay`);
  await eva.openChat('u:fay');
  await eva.write('from the first');
  await second.locator('.message', { hasText: 'from the first' }).waitFor();
  await second.locator('.composer textarea').fill('from the second');
  await second.locator('.composer textarea').press('Enter');
  await eva.message('from the second').waitFor();
  assert.deepEqual(await eva.texts(), ['from the first', 'from the second']);
  await eva.page.reload();
  await eva.message('from the second').waitFor();
  assert.deepEqual(await eva.texts(), ['from the first', 'from the second']);
});

test('groups: made, joined, governed, left', TIME, async () => {
  const [gus, hal] = await Promise.all([come('gus'), come('hal')]);
  await gus.page.getByRole('button', { name: 'New group' }).click();
  await gus.page.getByLabel('Group name').fill('Choir');
  await gus.page.getByLabel('Private').check();
  await gus.page.getByRole('button', { name: 'Create' }).click();
  await gus.page.getByRole('heading', { name: 'Choir' }).waitFor();
  await gus.page.getByText('gus created the group').first().waitFor();
  await gus.page.getByTitle('Group details').click();
  await gus.page.getByLabel('Add people').fill('hal, ida');
  await gus.page.getByRole('button', { name: 'Add', exact: true }).click();
  await gus.page.locator('.people li', { hasText: 'ida' }).getByRole('button', { name: 'More' }).click();
  await gus.page.getByRole('menuitem', { name: 'Make admin' }).click();
  await gus.page.locator('.people li', { hasText: 'ida' }).getByText('Admin').waitFor();
  await gus.page.locator('.people li', { hasText: 'ida' }).getByRole('button', { name: 'More' }).click();
  await gus.page.getByRole('menuitem', { name: 'Remove' }).click();
  await gus.page.getByRole('button', { name: 'Remove', exact: true }).click();
  await gus.page.getByLabel('Group name').fill('Choir of two');
  await gus.page.getByRole('button', { name: 'Save' }).click();
  await hal.page.getByRole('option', { name: /Choir of two/ }).click();
  await hal.page.getByText('gus removed ida').first().waitFor();
  await hal.write('la la');
  await gus.page.keyboard.press('Escape');
  await gus.message('la la').waitFor();
  await hal.page.getByTitle('Group details').click();
  await hal.page.getByRole('button', { name: 'Leave group' }).click();
  await hal.page.getByRole('dialog').last().getByRole('button', { name: 'Leave group' }).click();
  await gus.page.getByText('hal left').first().waitFor();
  await hal.page.getByRole('option', { name: /Choir of two/ }).click();
  await hal.page.getByText('You are not in this group any more.').waitFor();
});

test('an invitation is shown, and taken', TIME, async () => {
  const kim = await come('kim');
  const client = await openClient({ url: server.url, login: { user_id: 'lou' } });
  const { group } = await client.call('create_group', { name: 'Book club', private: true });
  await client.call('invite', { group_id: group.id, user_id: 'kim' });
  await kim.page.getByText('lou invites you').waitFor();
  await kim.page.getByRole('button', { name: 'Join' }).click();
  await kim.page.getByRole('heading', { name: 'Book club' }).waitFor();
  await kim.write('I am in');
  await kim.message('I am in').getByRole('img', { name: 'Sent' }).waitFor();
  client.close();
});

test('Enter belongs to the input method while it composes', TIME, async () => {
  const mei = await come('mei');
  await mei.openChat('u:nan');
  await mei.composer.focus();
  const keyboard = await mei.context.newCDPSession(mei.page);
  await keyboard.send('Input.imeSetComposition', { text: 'nihao', selectionStart: 5, selectionEnd: 5 });
  await mei.composer.evaluate((field) => {
    field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, isComposing: true, bubbles: true }));
    // Safari: the composition is over when its Enter comes.
    field.dispatchEvent(new CompositionEvent('compositionend', { data: '你好' }));
    field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
  });
  await keyboard.send('Input.insertText', { text: '你好' });
  await mei.page.waitForTimeout(150);
  assert.equal(await mei.composer.inputValue(), '你好');
  assert.deepEqual(await mei.texts(), []);
  await mei.composer.press('Enter');
  await mei.message('你好').waitFor();
});

test('what is refused says why, and can be deleted', TIME, async () => {
  const client = await openClient({ url: server.url, login: { user_id: 'oli' } });
  const { group } = await client.call('create_group', { name: 'Brief', members: ['pat'] });
  const pat = await come('pat');
  await pat.openChat(`g:${group.id}`);
  await pat.context.setOffline(true);
  await server.kill();
  await pat.write('too late');
  await server.start();
  await until(() => client.state.status === 'online');
  await client.call('remove_member', { group_id: group.id, user_id: 'pat' });
  await pat.context.setOffline(false);
  await pat.message('too late').getByText('Not sent').waitFor();
  await pat.message('too late').hover();
  await pat.message('too late').getByRole('button', { name: 'Actions' }).click();
  await pat.page.getByRole('menuitem', { name: 'Delete' }).click();
  await until(async () => (await pat.message('too late').count()) === 0);
  client.close();
});

test('a draft is kept: on switching, and on a reload', TIME, async () => {
  const quy = await come('quy');
  await quy.openChat('u:ria');
  await quy.composer.fill('half a tho');
  await quy.page.waitForTimeout(600);
  await quy.page.reload();
  await quy.composer.waitFor();
  assert.equal(await quy.composer.inputValue(), 'half a tho');
  await quy.openChat('u:sam');
  assert.match(await quy.page.getByRole('option', { name: /ria/ }).textContent(), /Draft: half a tho/);
});

test('not read while a dialog covers the chat, or the page is not looked at', TIME, async () => {
  const [tia, uma] = await Promise.all([come('tia'), come('uma')]);
  await tia.openChat('u:uma');
  await uma.openChat('u:tia');
  await uma.page.getByRole('button', { name: 'New group' }).click();
  await tia.write('psst');
  await tia.message('psst').getByRole('img', { name: 'Delivered' }).waitFor();
  await uma.page.waitForTimeout(500);
  assert.equal(await tia.message('psst').getByRole('img', { name: 'Read' }).count(), 0);
  await uma.page.keyboard.press('Escape');
  await uma.page.locator('.composer textarea').click();
  await tia.message('psst').getByRole('img', { name: 'Read' }).waitFor();
});

test('a message is found by a word, in Chinese too, and shown where it stands', TIME, async () => {
  const vic = await openClient({ url: server.url, login: { user_id: 'vic' }, start: 'now' });
  await vic.send({ receiver_id: 'wen', content: '今天晚上见 at the harbour' });
  for (let n = 0; n < 150; n += 1) await vic.send({ receiver_id: 'wen', content: `filler ${n}` });
  vic.close();
  const wen = await come('wen');
  await wen.page.getByRole('option', { name: /vic/ }).waitFor();
  for (const words of ['harb', '晚上']) {
    await wen.page.getByRole('searchbox').fill(words);
    await wen.page.locator('.hit mark').filter({ hasText: words }).waitFor();
    await wen.page.locator('.hit').click();
    await wen.message('今天晚上见').waitFor();
    assert.ok(await wen.message('今天晚上见').evaluate((row) => {
      const { top, bottom } = row.getBoundingClientRect();
      return top > 60 && bottom < innerHeight - 60;
    }));
  }
});

test('an open group is joined by its address', TIME, async () => {
  const xia = await openClient({ url: server.url, login: { user_id: 'xia' }, start: 'now' });
  const { group } = await xia.call('create_group', { name: 'Open house' });
  xia.close();
  const yan = await come('yan');
  await yan.page.goto(`${server.url}/c/g/${group.id}`);
  await yan.page.getByText('You are not in this group yet.').waitFor();
  await yan.page.getByRole('button', { name: 'Join' }).click();
  await yan.page.getByRole('heading', { name: 'Open house' }).waitFor();
  await yan.write('hello house');
  await yan.message('hello house').getByRole('img', { name: 'Sent' }).waitFor();
});
