/** Behind a reverse proxy under a path that also says who calls: mode `proxy`. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { Person, launch } from '../support/browser.js';
import { startProxy } from '../support/proxy.js';
import { startServer } from '../support/server.js';

const server = await startServer({
  IMSERVER_AUTH_MODE: 'proxy', IMSERVER_PROXIES: '127.0.0.1', IMSERVER_WEB_BASE_PATH: '/chat', IMSERVER_WEB_TITLE: 'Us & them',
});
const proxy = await startProxy(server.port, '/chat', { 'X-User-ID': 'zoe' });
const browser = await launch();
after(async () => {
  await browser.close();
  proxy.close();
  await server.dispose();
});

test('one is in at once, and everything stays below the path', { timeout: 60_000 }, async () => {
  const zoe = await Person.arrive(browser, `${proxy.url}/`);
  await zoe.page.getByRole('button', { name: /zoe.*Preferences/ }).waitFor();
  zoe.url = proxy.url;
  await zoe.openChat('u:zoe');
  await zoe.write('to myself');
  await zoe.message('to myself').waitFor();
  await zoe.page.reload();
  await zoe.message('to myself').waitFor();
  assert.match(new URL(zoe.page.url()).pathname, /^\/chat\/c\/u\/zoe$/);
  assert.equal(await zoe.page.title(), 'Us & them');
  const scope = await zoe.page.evaluate(async () => (await navigator.serviceWorker.ready).scope);
  assert.equal(scope, `${proxy.url}/`);
  assert.deepEqual(zoe.faults, []);
});
