/** The budget: bytes, time to usable at a quarter of the speed, longest frames while scrolling. */
import { openClient } from '../../../imserver/web/sdk/imserver.js';
import { Person, launch } from './browser.js';
import { startServer, until } from './server.js';

const MESSAGES = Number(process.argv[2] ?? 50_000);
const TALKS = Number(process.argv[3] ?? 2_000);
const say = (what, value) => process.stdout.write(`${what}: ${value}\n`);
const server = await startServer();
const browser = await launch();

async function fill() {
  const bob = await openClient({ url: server.url, login: { user_id: 'bob' }, start: 'now' });
  for (let n = 0; n < MESSAGES; n += 500) {
    await Promise.all(Array.from({ length: Math.min(500, MESSAGES - n) }, (_, i) => bob.call('send_message', {
      receiver_id: 'ann', content: `message ${n + i} ${'with a few more words '.repeat((n + i) % 7)}`,
    })));
  }
  bob.close();
  for (let n = 0; n < TALKS; n += 100) {
    await Promise.all(Array.from({ length: Math.min(100, TALKS - n) }, (_, i) => fetch(`${server.url}/api/v1/messages`, {
      method: 'POST', headers: { 'X-User-ID': `friend${n + i}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ receiver_id: 'ann', content: `hello from ${n + i}` }),
    })));
  }
}

/** The longest frame while something is scrolled, in milliseconds. */
async function longestFrame(page, selector, step) {
  return page.evaluate(async ([wanted, by]) => {
    const box = document.querySelector(wanted);
    let longest = 0;
    let before = performance.now();
    for (let frame = 0; frame < 400; frame += 1) {
      box.scrollBy(0, by);
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const now = performance.now();
      longest = Math.max(longest, now - before);
      before = now;
    }
    return longest;
  }, [selector, step]);
}

try {
  const worker = await (await fetch(`${server.url}/worker.js`)).text();
  let [bytes, files] = [worker.length, 1];
  for (const file of ['/', ...JSON.parse(/JSON\.parse\('(.+)'\)/.exec(worker)[1])]) {
    bytes += (await (await fetch(server.url + file, { headers: { 'Accept-Encoding': 'identity' } })).arrayBuffer()).byteLength;
    files += 1;
  }
  say('bytes, uncompressed', `${bytes} in ${files} files`);
  const first = await Person.arrive(browser, 'about:blank');
  const cdp = await first.context.newCDPSession(first.page);
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  const began = performance.now();
  await first.page.goto(server.url);
  await first.page.locator('input[name=username]').waitFor();
  say('first page usable at a quarter of the speed', `${Math.round(performance.now() - began)} ms`);
  await first.leave();

  await fill();
  const ann = await Person.named(browser, server.url, 'ann');
  let start = performance.now();
  await until(async () => (await ann.page.title()).includes('999+') && (await ann.page.locator('.row').first().textContent()).includes(`hello from ${TALKS - 1}`), 'the catch-up', 240_000);
  say(`first catch-up of ${MESSAGES + TALKS} messages`, `${Math.round(performance.now() - start)} ms`);
  await ann.page.waitForTimeout(1500);
  say(`longest frame, list of ${TALKS} conversations`, `${Math.round(await longestFrame(ann.page, '.list-scroller', 400))} ms`);
  start = performance.now();
  await ann.page.goto(`${server.url}/c/u/bob`);
  await ann.page.locator('.message').first().waitFor();
  say('reload with all that, until messages are shown', `${Math.round(performance.now() - start)} ms`);
  await ann.page.waitForTimeout(1000);
  say(`longest frame, conversation of ${MESSAGES} messages`, `${Math.round(await longestFrame(ann.page, '.scroller', -500))} ms`);
  const { metrics } = await (await ann.context.newCDPSession(ann.page)).send('Performance.getMetrics').catch(() => ({ metrics: [] }));
  const heap = metrics.find((one) => one.name === 'JSHeapUsedSize');
  if (heap) say('memory of the page', `${Math.round(heap.value / 1e6)} MB`);
  await ann.leave();
} finally {
  await browser.close();
  await server.dispose();
}
