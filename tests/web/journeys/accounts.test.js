/** Mode `token`: passwords, a first password that has to be changed, signing out elsewhere. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { Person, launch } from '../support/browser.js';
import { startServer } from '../support/server.js';

const server = await startServer({ IMSERVER_AUTH_MODE: 'token' });
const browser = await launch();
after(async () => {
  await browser.close();
  await server.dispose();
});

const TIME = { timeout: 90_000 };

async function post(path, body, token) {
  const answer = await fetch(server.url + path, {
    method: 'POST', body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
  });
  return answer.json();
}

/** An administrator's token: the first account's, whose password the server prints once. */
async function administrator() {
  const [, user, password] = /user (\S+)[^]*?password (\S+)/i.exec(server.output) ?? /(admin)[^]*?: (\S+)/.exec(server.output);
  const first = await post('/api/v1/auth/login', { user_id: user, password });
  await post('/api/v1/auth/password', { old_password: password, new_password: 'correct horse battery' }, first.token);
  return first.token;
}

async function signIn(person, name, password) {
  await person.page.getByLabel('Name').fill(name);
  await person.page.getByLabel('Password').fill(password);
  await person.page.getByRole('button', { name: 'Sign in' }).click();
}

test('a first password is changed, then one chats; signing out elsewhere is told', TIME, async () => {
  const token = await administrator();
  const { password } = await post('/api/v1/admin/users', { user_id: 'ann' }, token);
  await post('/api/v1/admin/users', { user_id: 'ben', password: 'benbenben1' }, token);
  const ann = await Person.arrive(browser, server.url);
  await signIn(ann, 'ann', 'wrong password');
  await ann.page.getByText('The name or the password is wrong.').waitFor();
  await signIn(ann, 'ann', password);
  await ann.page.getByLabel('New password').fill('a better password');
  await ann.page.getByRole('button', { name: 'Save' }).click();
  await ann.page.locator('.shell').waitFor();
  const ben = await Person.arrive(browser, server.url);
  await signIn(ben, 'ben', 'benbenben1');
  await ben.page.locator('.shell').waitFor();
  await ann.openChat('u:ben');
  await ann.write('hello Ben');
  await ben.page.getByRole('option', { name: /ann/ }).click();
  await ben.message('hello Ben').waitFor();
  await ann.openChat('u:nobody');
  await ann.write('is anybody there?');
  await ann.message('is anybody there?').getByText('Not sent').waitFor();
  const elsewhere = await post('/api/v1/auth/login', { user_id: 'ann', password: 'a better password', device: 'Old phone' });
  await ann.page.locator('.me').click();
  await ann.page.getByRole('button', { name: 'Devices' }).click();
  await ann.page.locator('.people li', { hasText: 'Old phone' }).getByRole('button', { name: 'Sign out' }).click();
  await ann.page.locator('.people li', { hasText: 'Old phone' }).waitFor({ state: 'detached' });
  const refused = await fetch(`${server.url}/api/v1/auth/sessions`, { headers: { Authorization: `Bearer ${elsewhere.token}` } });
  assert.equal(refused.status, 401);
  await ann.page.keyboard.press('Escape');
  await ann.page.getByRole('button', { name: 'Change password' }).click();
  await ann.page.getByRole('dialog').last().getByLabel('Password', { exact: true }).fill('a better password');
  await ann.page.getByRole('dialog').last().getByLabel('New password').fill('the best password');
  await ann.page.getByRole('button', { name: 'Save' }).click();
  await ann.page.getByText('The password is changed.').waitFor();
  const revoked = await fetch(`${server.url}/api/v1/admin/users/ann/sessions`, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } });
  assert.equal(revoked.status, 200);
  await ann.page.getByText('You have been signed out.').waitFor();
  await ann.page.getByLabel('Password').waitFor();
  await ben.page.locator('.me').click();
  await ben.page.getByRole('button', { name: 'Sign out' }).click();
  await ben.page.getByRole('dialog').last().getByRole('button', { name: 'Sign out' }).click();
  await ben.page.getByLabel('Password').waitFor();
  assert.deepEqual([...ann.faults, ...ben.faults], []);
});

function signed(claims, key) {
  const encode = (data) => Buffer.from(JSON.stringify(data)).toString('base64url');
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

test('mode jwt: a page sends its user here with a token', TIME, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'imserver-key-'));
  const key = 'k'.repeat(40);
  await writeFile(join(folder, 'key'), key);
  const other = await startServer({
    IMSERVER_AUTH_MODE: 'jwt', IMSERVER_AUTH_ALGORITHMS: 'HS256', IMSERVER_AUTH_KEY_FILE: join(folder, 'key'),
  });
  try {
    const without = await Person.arrive(browser, other.url);
    await without.page.getByRole('alert').waitFor();
    const token = signed({ sub: 'pia', exp: Math.floor(Date.now() / 1000) + 3600 }, key);
    const pia = await Person.arrive(browser, `${other.url}/#token=${token}`);
    await pia.page.locator('.shell').waitFor();
    assert.ok(!pia.page.url().includes('token'));
    await pia.page.goto(`${other.url}/c/u/pia`);
    await pia.write('a note');
    await pia.message('a note').waitFor();
    assert.deepEqual([...pia.faults, ...without.faults], []);
  } finally {
    await other.dispose();
    await rm(folder, { recursive: true });
  }
});
