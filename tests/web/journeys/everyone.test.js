/** For everyone: by keyboard, by screen reader, in both languages, on small screens; and how it is served. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, afterEach, test } from 'node:test';

import { openClient } from '../../../imserver/web/sdk/imserver.js';
import { Person, launch } from '../support/browser.js';
import { startServer } from '../support/server.js';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
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

const TIME = { timeout: 90_000 };

async function come(name, options = {}) {
  const person = await Person.named(browser, server.url, name, { bypassCSP: true, ...options });
  people.push(person);
  return person;
}

async function check(page, what) {
  await page.waitForTimeout(400);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => Reflect.get(window, 'axe').run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
  }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).slice(0, 3).join(' | ')}`);
  assert.deepEqual(found, [], what);
}

for (const [name, options] of Object.entries({ light: {}, dark: { colorScheme: 'dark' } })) {
  test(`every page is accessible, ${name}`, TIME, async () => {
    const arriving = await Person.arrive(browser, server.url, { bypassCSP: true, ...options });
    people.push(arriving);
    await arriving.page.locator('.signin').waitFor();
    await check(arriving.page, 'sign-in');
    const bob = await openClient({ url: server.url, login: { user_id: 'bob' }, start: 'now' });
    const { group } = await bob.call('create_group', { name: 'Team', members: [`ann-${name}`] });
    for (const content of ['hello', '- one\n- two', '> said\n`code` https://example.org', '```\nblock\n```', '👍']) await bob.send({ group_id: group.id, content });
    await bob.send({ receiver_id: `ann-${name}`, content: 'direct' });
    bob.close();
    const ann = await come(`ann-${name}`, options);
    await ann.page.locator('.row').nth(1).waitFor();
    await check(ann.page, 'list');
    await ann.openChat(`g:${group.id}`);
    await ann.write('mine');
    await ann.message('mine').waitFor();
    await check(ann.page, 'chat');
    await ann.page.getByTitle('Group details').click();
    await ann.page.locator('.people li').first().waitFor();
    await check(ann.page, 'group');
    await ann.page.keyboard.press('Escape');
    await ann.page.locator('.me').click();
    await check(ann.page, 'preferences');
  });
}

test('complete by keyboard', TIME, async () => {
  const cat = await openClient({ url: server.url, login: { user_id: 'cat' }, start: 'now' });
  await cat.send({ receiver_id: 'dan', content: 'first' });
  const dan = await come('dan');
  const { page } = dan;
  await page.locator('.row').waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('ca');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'cat' }).waitFor();
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two lines');
  await page.keyboard.press('Enter');
  await dan.message('two lines').waitFor();
  await cat.send({ receiver_id: 'dan', content: 'again' });
  const action = page.getByRole('button', { name: 'Actions for this message' }).first();
  await action.focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Actions for this message');
  cat.close();
});

test('in Chinese, by the browser and by choice', TIME, async () => {
  const eli = await come('小明', { locale: 'zh-CN' });
  await eli.page.getByText('还没有会话').waitFor();
  assert.equal(await eli.page.locator('html').getAttribute('lang'), 'zh-CN');
  await eli.page.locator('.me').click();
  await eli.page.getByLabel('语言').selectOption('en');
  await eli.page.getByText('No chats yet').waitFor();
  await eli.page.reload();
  await eli.page.getByText('No chats yet').waitFor();
});

test('small screens: nothing wider than the page, no input below 16 pixels', TIME, async () => {
  const fay = await come('fay', { viewport: { width: 320, height: 560 }, hasTouch: true, isMobile: true });
  const { page } = fay;
  const fits = async () => {
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
    const sizes = await page.evaluate(() => [...document.querySelectorAll('input:not([type=checkbox]), textarea, select')].map((one) => parseFloat(getComputedStyle(one).fontSize)));
    assert.ok(sizes.every((size) => size >= 16), String(sizes));
  };
  await fits();
  await page.getByRole('button', { name: 'New group' }).click();
  await fits();
  await page.getByLabel('Group name').fill('A group with a name that is longer than any screen of a phone is wide');
  await page.getByRole('button', { name: 'Create' }).click();
  await page.locator('.composer').waitFor();
  await fits();
  await page.getByRole('button', { name: 'Back' }).click();
  await page.locator('.row').waitFor();
  await fits();
});

test('how it is served', TIME, async () => {
  const page = await fetch(server.url);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type'), /^text\/html/);
  assert.equal(page.headers.get('cache-control'), 'no-cache');
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'.*require-trusted-types-for 'script'/);
  const again = await fetch(server.url, { headers: { 'If-None-Match': page.headers.get('etag') } });
  assert.equal(again.status, 304);
  const html = await page.text();
  const [, script] = /src="([^"]+main\.js)"/.exec(html);
  const module = await fetch(server.url + script);
  assert.match(module.headers.get('cache-control'), /immutable/);
  assert.match(module.headers.get('content-type'), /^text\/javascript/);
  assert.equal(module.headers.get('content-encoding'), 'gzip');
  const plain = await fetch(server.url + script, { headers: { 'Accept-Encoding': 'identity' } });
  assert.equal(plain.headers.get('content-encoding'), null);
  assert.equal(await plain.text(), await module.text());
  for (const path of [`${script}x`, script.replace(/app\/\w+/, 'app/0000000000000000'), '/app/', '/c', '/favicon.ico', '/app/x/../../../config.py']) {
    const missing = await fetch(server.url + path);
    assert.equal(missing.status, 404, path);
    assert.equal((await missing.json()).code, 'not_found', path);
  }
  for (const path of ['/c/u/bob', '/c/g/group_x']) assert.match((await fetch(server.url + path)).headers.get('content-type'), /html/);
  const worker = await (await fetch(`${server.url}/worker.js`)).text();
  let bytes = html.length + worker.length;
  for (const file of JSON.parse(/JSON\.parse\('(.+)'\)/.exec(worker)[1])) {
    const answer = await fetch(server.url + file, { headers: { 'Accept-Encoding': 'identity' } });
    assert.equal(answer.status, 200, file);
    bytes += (await answer.arrayBuffer()).byteLength;
  }
  assert.ok(bytes < 250_000, `${bytes} bytes`);
});
