/** What may go wrong: hostile content, long histories, no network, no storage, signing out. */
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

const client = (name) => openClient({ url: server.url, login: { user_id: name }, start: 'now' });
const TIME = { timeout: 120_000 };
const PHONE = { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true };

const HOSTILE = [
  '<img src=x onerror="window.hacked=1">',
  '<script>window.hacked=1</script>',
  '"><svg/onload=window.hacked=1>',
  'javascript:window.hacked=1 [x](javascript:window.hacked=1)',
  '{{constructor.constructor("window.hacked=1")()}}',
  '\u202Egnp.exe\u202C \u2066\u2067 mixed',
  `e${'\u0301'.repeat(30_000)}`,
  Array(3_000).fill('👩').join('\u200D'),
  'W'.repeat(60_000),
  `https://example.org/${'a'.repeat(3_000)}`,
  '*_~`'.repeat(4_000),
  '\n'.repeat(2_000),
  'مرحبا (abc) 123 !',
];

test('nothing that others write becomes markup, script or another layout', TIME, async () => {
  const bad = await client('<b>eve</b>&amp;');
  for (const content of HOSTILE) await bad.send({ receiver_id: 'ann', content });
  const name = '<img/src=x onerror=alert(1)>';
  const { group } = await bad.call('create_group', { name, description: '<script>1</script>', members: ['ann'] });
  await bad.send({ group_id: group.id, content: '<b>bold</b>' });
  bad.close();
  const ann = await come('ann', PHONE);
  const { page } = ann;
  await page.getByRole('option', { name: /onerror/ }).waitFor();
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(await overflow(), 0);
  await ann.openChat('u:<b>eve</b>&amp;');
  await ann.message('onerror').waitFor();
  assert.equal(await page.locator('.message').count(), HOSTILE.length);
  assert.equal(await page.locator('.messages :is(img, script, b, iframe), .messages svg:not(.icon)').count(), 0);
  for (const href of await page.locator('.messages a').evaluateAll((all) => all.map((a) => a.protocol))) assert.match(href, /^https?:$/);
  assert.equal(await overflow(), 0);
  const outside = await page.evaluate(() => [...document.querySelectorAll('.bubble')].filter((bubble) => bubble.getBoundingClientRect().right > innerWidth).length);
  assert.equal(outside, 0);
  await ann.openChat(`g:${group.id}`);
  await page.getByTitle('Group details').click();
  await page.locator('.people li').first().waitFor();
  assert.equal(await page.locator('dialog :is(img, script)').count(), 0);
  assert.equal(await overflow(), 0);
  assert.equal(await page.evaluate(() => Reflect.get(window, 'hacked')), undefined);
});

test('a long history: opened at the end, scrolled without a jump', TIME, async () => {
  const bob = await client('bob');
  for (let n = 1; n <= 900; n += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, i) => bob.send({ receiver_id: 'cat', content: `line ${n + i} ${'and more '.repeat((n + i) % 9)}` })));
  }
  const cat = await come('cat');
  const { page } = cat;
  await until(async () => /900/.test(await page.locator('.row').first().textContent()));
  await cat.openChat('u:bob');
  await cat.message('line 900').waitFor();
  const scroller = page.locator('.scroller');
  const box = await scroller.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  let worst = 0;
  for (let step = 0; step < 160; step += 1) {
    const before = await page.evaluate(() => {
      const top = document.querySelector('.scroller').getBoundingClientRect().top;
      const row = [...document.querySelectorAll('.message')].find((one) => one.getBoundingClientRect().top > top + 40);
      Reflect.set(window, 'watched', row);
      return row.getBoundingClientRect().top;
    });
    await page.mouse.wheel(0, -240);
    await page.waitForTimeout(30);
    const moved = await page.evaluate((y) => {
      const row = Reflect.get(window, 'watched');
      return row.isConnected ? row.getBoundingClientRect().top - y : null;
    }, before);
    if (moved !== null) worst = Math.max(worst, moved - 245, -moved);
    if (await page.locator('.message', { hasText: 'line 500 ' }).count()) break;
  }
  assert.ok(worst <= 0, `what was looked at jumped by ${worst} pixels`);
  assert.ok(await page.locator('.message').count() <= 260, 'only a window of the messages is in the page');
  const looked = await page.locator('.message').first().textContent();
  await bob.send({ receiver_id: 'cat', content: 'while you read above' });
  await page.locator('.to-bottom .count', { hasText: '1' }).waitFor();
  assert.equal(await page.locator('.message').first().textContent(), looked);
  await page.getByRole('button', { name: 'To the newest message' }).click();
  await cat.message('while you read above').waitFor();
  await until(() => page.evaluate(() => {
    const box2 = document.querySelector('.scroller');
    return box2.scrollHeight - box2.clientHeight - box2.scrollTop < 2;
  }));
  bob.close();
});

test('opens at the first unread, with a line', TIME, async () => {
  const [dan, eli] = [await client('dan'), await come('eli')];
  await dan.send({ receiver_id: 'eli', content: 'old' });
  await eli.openChat('u:dan');
  await eli.message('old').waitFor();
  await until(async () => (await eli.page.title()) === 'imserver');
  await eli.page.waitForTimeout(600);
  await eli.page.goto(server.url);
  for (let n = 0; n < 60; n += 1) await dan.send({ receiver_id: 'eli', content: `new ${n}` });
  await eli.page.getByRole('option', { name: /dan.*60/ }).click();
  await eli.page.locator('.unread-line').waitFor();
  const line = await eli.page.locator('.unread-line').boundingBox();
  assert.ok(line.y > 0 && line.y < 400, `the line is at ${line.y}`);
  assert.match(await eli.page.title(), /^\(60\)/);
  dan.close();
});

test('the page opens without a network, with what is kept', TIME, async () => {
  const fay = await come('fay');
  await fay.openChat('u:fay');
  await fay.write('a note');
  await fay.message('a note').waitFor();
  await fay.page.waitForTimeout(600);
  await fay.page.evaluate(() => navigator.serviceWorker.ready);
  await fay.page.reload();
  await server.kill();
  await fay.page.reload();
  await fay.message('a note').waitFor();
  await fay.page.getByText('Offline.').waitFor();
  await server.start();
  await fay.page.reload();
  await fay.message('a note').waitFor();
});

test('signing out leaves nothing, in any tab', TIME, async () => {
  const gil = await come('gil');
  const second = await gil.context.newPage();
  await second.goto(`${server.url}/c/u/gil`);
  await second.locator('.composer').waitFor();
  await gil.openChat('u:gil');
  await gil.write('a secret');
  await second.locator('.message', { hasText: 'a secret' }).waitFor();
  await gil.page.locator('.me').click();
  await gil.page.getByRole('button', { name: 'Sign out' }).click();
  await gil.page.getByRole('dialog').last().getByRole('button', { name: 'Sign out' }).click();
  await gil.page.locator('.signin').waitFor();
  await second.locator('.signin').waitFor();
  await second.getByText('You have been signed out.').waitFor();
  await gil.page.waitForTimeout(300);
  const left = await gil.page.evaluate(async () => ({
    databases: (await indexedDB.databases()).map((one) => one.name),
    caches: await caches.keys(),
    local: Object.entries(localStorage).filter(([, value]) => value.includes('gil')),
    session: Object.keys(sessionStorage),
  }));
  assert.deepEqual(left, { databases: [], caches: [], local: [], session: [] });
});

test('another person in another tab: the link for trying alone', TIME, async () => {
  const hal = await come('hal');
  const [second] = await Promise.all([hal.context.waitForEvent('page'), hal.page.getByRole('link', { name: 'Open a second window' }).click()]);
  await second.locator('input[name=username]').fill('ivy');
  await second.keyboard.press('Enter');
  await second.locator('.shell').waitFor();
  await second.reload();
  await second.getByRole('button', { name: /ivy.*Preferences/ }).waitFor();
  await hal.page.reload();
  await hal.page.getByRole('button', { name: /hal.*Preferences/ }).waitFor();
});

test('a browser without IndexedDB and without storage', TIME, async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    Object.defineProperty(window, 'indexedDB', { value: { open() { throw new Error('no'); }, deleteDatabase() { throw new Error('no'); } } });
    for (const name of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(window, name, { get() { throw new Error('no'); } });
    }
  });
  const page = await context.newPage();
  const jo = new Person(context, page, server.url);
  people.push(jo);
  await page.goto(server.url);
  await page.locator('input[name=username]').fill('jo');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Write to somebody' }).click();
  await page.getByLabel('Name of the person').fill('jo');
  await page.keyboard.press('Enter');
  await jo.write('works all the same');
  await jo.message('works all the same').waitFor();
});

test('a name that the server does not take', TIME, async () => {
  const person = await Person.arrive(browser, server.url);
  people.push(person);
  await person.page.locator('input[name=username]').fill('system');
  await person.page.keyboard.press('Enter');
  await person.page.getByRole('alert').filter({ hasText: 'You may not do this.' }).waitFor();
});
