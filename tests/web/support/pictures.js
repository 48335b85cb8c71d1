/** Pictures of the main pages: desktop and phone, light and dark, English and Chinese. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { openClient } from '../../../imserver/web/sdk/imserver.js';
import { Person, launch } from './browser.js';
import { startServer, until } from './server.js';

const folder = process.argv[2];
await mkdir(folder, { recursive: true });
const server = await startServer();
const browser = await launch();

async function talker(name) {
  return openClient({ url: server.url, login: { user_id: name }, start: 'now' });
}

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const DARK = { colorScheme: 'dark' };
const CHINESE = { locale: 'zh-CN' };

async function shoot(person, name) {
  await person.page.waitForTimeout(500);
  await person.page.screenshot({ path: join(folder, `${name}.png`) });
  for (const fault of person.faults) process.stderr.write(`${name}: ${fault}\n`);
}

async function fill() {
  const [maya, tom, lin, noa] = await Promise.all(['Maya', 'Tom.Becker', '林小雨', 'نوا'].map(talker));
  const anna = await talker('Anna');
  const { group } = await anna.call('create_group', { name: 'Garden project', description: 'Beds, bees and the shed', members: ['Maya', 'Tom.Becker', '林小雨'] });
  const to = { group_id: group.id };
  await maya.send({ ...to, content: 'Morning! The seedlings arrived, all 48 of them 🌱' });
  await maya.send({ ...to, content: 'I put them in the cold frame for now.' });
  await tom.send({ ...to, content: 'Great. I can bring the *big* wheelbarrow on Saturday, if somebody tells me where the key to the shed is.' });
  await anna.send({ ...to, content: 'Key is under the blue pot. Plan for Saturday:\n- compost to the north bed\n- string for the beans\n- lunch at one' });
  await lin.send({ ...to, content: '我带一些饺子来！详情请看（https://example.org/recipes/饺子）。' });
  await maya.send({ ...to, content: '> lunch at one\nPerfect, `12:55` sharp then. Map: https://example.org/map/Garden_(north)' });
  await lin.send({ receiver_id: 'Anna', content: '明天下午三点在图书馆见，可以吗？' });
  await anna.send({ receiver_id: '林小雨', content: '可以，到时候见！' });
  await noa.send({ receiver_id: 'Anna', content: 'مرحبا! كيف حالك اليوم؟ See you at 5pm?' });
  await tom.send({ receiver_id: 'Anna', content: 'Did you see the weather forecast for the weekend? It looks like rain from Saturday afternoon on, so perhaps we should start at eight instead of nine.' });
  await tom.send({ receiver_id: 'Anna', content: '👍' });
  const { group: secret } = await maya.call('create_group', { name: 'Surprise party', members: [], private: true });
  await maya.call('invite', { group_id: secret.id, user_id: 'Anna' });
  for (const client of [maya, tom, lin, noa, anna]) client.close();
  return group.id;
}

async function crowd() {
  const names = ['Ada', 'Benoît', '陈晓明', 'Dmitri', 'Élodie', 'Farid', '佐藤花子', 'Ingrid', 'Jürgen', 'Kwame'];
  for (let n = 0; n < 500; n += 25) {
    await Promise.all(Array.from({ length: 25 }, async (_, i) => {
      const name = `${names[(n + i) % 10]}${n + i}`;
      const client = await talker(name);
      await client.send({ receiver_id: 'Crowded', content: `Hello from ${name}, this is message number ${n + i}` });
      client.close();
    }));
  }
}

try {
  const arriving = await Person.arrive(browser, server.url);
  await shoot(arriving, 'sign-in');
  await arriving.page.locator('input[name=username]').fill('two words');
  await arriving.page.locator('form button').click();
  await shoot(arriving, 'sign-in-error');
  await arriving.leave();
  const empty = await Person.named(browser, server.url, 'Newcomer');
  await shoot(empty, 'empty');
  await empty.leave();

  const garden = await fill();
  const views = { light: {}, dark: DARK, phone: PHONE, 'phone-dark': { ...PHONE, ...DARK }, chinese: CHINESE };
  for (const [name, options] of Object.entries(views)) {
    const anna = await Person.named(browser, server.url, 'Anna', options);
    await anna.page.locator('.row').first().waitFor();
    await shoot(anna, `list-${name}`);
    await anna.openChat(`g:${garden}`);
    await anna.page.locator('.message').first().waitFor();
    await shoot(anna, `chat-${name}`);
    if (name === 'light' || name === 'phone') {
      await anna.page.locator('.who').click();
      await anna.page.locator('.people li').first().waitFor();
      await shoot(anna, `group-${name}`);
      await anna.page.keyboard.press('Escape');
      await anna.openChat('u:Tom.Becker');
      await shoot(anna, `direct-${name}`);
      await anna.openChat('u:نوا');
      await shoot(anna, `rtl-${name}`);
    }
    if (name === 'chinese') {
      await anna.openChat('u:林小雨');
      await shoot(anna, 'direct-chinese');
      await anna.page.locator('.me').click();
      await shoot(anna, 'preferences-chinese');
    }
    if (name === 'light') {
      await anna.page.locator('.me').click();
      await shoot(anna, 'preferences');
      await anna.page.keyboard.press('Escape');
      await anna.page.locator('.message .act').first().click({ force: true });
      await shoot(anna, 'menu');
      await anna.page.keyboard.press('Escape');
    }
    await anna.leave();
  }
  await crowd();
  const crowded = await Person.named(browser, server.url, 'Crowded');
  await until(async () => (await crowded.page.locator('.row').count()) > 5);
  await shoot(crowded, 'list-500');
  await crowded.openChat('u:Ada0');
  await crowded.write('This one is sent.');
  await crowded.page.waitForTimeout(300);
  await server.kill();
  await crowded.page.waitForTimeout(2500);
  await crowded.write('And this one waits.');
  await shoot(crowded, 'offline');
  await crowded.leave();
} finally {
  await browser.close();
  await server.dispose();
}
