import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';

import en from '../../../imserver/web/i18n/en.js';
import { chooseLanguage, dayName, language, reason, t } from '../../../imserver/web/i18n/texts.js';
import zh from '../../../imserver/web/i18n/zh.js';
import { Refused } from '../../../imserver/web/sdk/errors.js';
import { Composition, meaning } from '../../../imserver/web/text/keys.js';
import { linkify } from '../../../imserver/web/text/links.js';
import { parse } from '../../../imserver/web/text/markup.js';
import { colour, initials } from '../../../imserver/web/text/names.js';

const links = (text) => linkify(text).filter((piece) => piece.href).map((piece) => piece.text);

test('links, also between Chinese punctuation', () => {
  for (const [text, expected] of [
    ['see https://x.y/a.', ['https://x.y/a']],
    ['（https://x.y/a）。', ['https://x.y/a']],
    ['https://x.y/a，详见', ['https://x.y/a']],
    ['见“https://x.y/a”！', ['https://x.y/a']],
    ['https://en.example.org/wiki/Blur_(band)', ['https://en.example.org/wiki/Blur_(band)']],
    ['(https://x.y/a_(b))', ['https://x.y/a_(b)']],
    ['https://example.org/百科/饺子 好吃', ['https://example.org/百科/饺子']],
    ['a https://x.y/?q=1&r=2, b http://localhost:8080/z', ['https://x.y/?q=1&r=2', 'http://localhost:8080/z']],
    ['www.example.org', ['www.example.org']],
    ['mailwww.example.org javascript:alert(1) ftp://x.y', []],
    ['https://user@evil.example', []],
    ['https://', []],
    ['<https://x.y/a>', ['https://x.y/a']],
  ]) assert.deepEqual(links(text), expected, text);
  assert.equal(linkify('www.example.org')[0].href, 'https://www.example.org/');
  const text = 'x https://x.y/a) y';
  assert.equal(linkify(text).map((piece) => piece.text).join(''), text);
});

const outline = (text) => parse(text).map(function draw(node) {
  if (node.kind === 'list') return ['list', ...node.items.map((item) => item.map(draw))];
  if (node.children) return [node.kind, ...node.children.map(draw)];
  return node.kind === 'text' ? node.text : [node.kind, node.text];
});

test('markup', () => {
  for (const [text, expected] of [
    ['plain', [['lines', 'plain']]],
    ['a *b* _c_ ~d~ `e`', [['lines', 'a ', ['strong', 'b'], ' ', ['em', 'c'], ' ', ['s', 'd'], ' ', ['code', 'e']]]],
    ['snake_case_name 2*3*4', [['lines', 'snake_case_name 2*3*4']]],
    ['这是*重点*内容', [['lines', '这是', ['strong', '重点'], '内容']]],
    ['*_both_*', [['lines', ['strong', ['em', 'both']]]]],
    ['`*not*`', [['lines', ['code', '*not*']]]],
    ['* no list', [['lines', '* no list']]],
    ['- a\n- b', [['list', ['a'], ['b']]]],
    ['> quoted\nmine', [['quote', 'quoted'], ['lines', 'mine']]],
    ['```\nx = *1*\n```', [['pre', 'x = *1*']]],
    ['*https://x.y/_a_b*', [['lines', '*', ['link', 'https://x.y/_a_b'], '*']]],
  ]) assert.deepEqual(outline(text), expected, text);
});

test('markup and links are linear, and long texts stay plain', () => {
  for (const text of ['*'.repeat(20_000), '*_'.repeat(10_000), '`'.repeat(19_999), '> '.repeat(9_000),
    'https://'.repeat(2_400), 'http://a('.repeat(2_000), '(((((('.repeat(3_000), '- x\n'.repeat(4_900)]) {
    const began = performance.now();
    parse(text);
    assert.ok(performance.now() - began < 400, `${text.slice(0, 10)}: ${performance.now() - began} ms`);
  }
  assert.deepEqual(parse('*x*'.repeat(10_000)).length, 1);
});

test('keys of an input method send nothing', () => {
  const composition = new Composition();
  const enter = (more) => ({ key: 'Enter', timeStamp: 1000, ...more });
  assert.equal(composition.takes(enter({})), false);
  assert.equal(composition.takes(enter({ isComposing: true })), true); // Blink, Gecko
  assert.equal(composition.takes(enter({ keyCode: 229 })), true); // Safari, older ones
  composition.start();
  for (const key of ['Enter', 'Tab', 'Escape', 'ArrowUp']) assert.equal(composition.takes({ key, timeStamp: 1 }), true);
  composition.end(990); // Safari: the composition ends right before its Enter
  assert.equal(composition.takes(enter({})), true);
  assert.equal(composition.takes(enter({ timeStamp: 1200 })), false);
});

test('what keys mean', () => {
  const key = (name, more, options) => meaning({ key: name, ...more }, { enterSends: true, empty: false, ...options });
  assert.equal(key('Enter'), 'send');
  assert.equal(key('Enter', { shiftKey: true }), null);
  assert.equal(key('Enter', {}, { enterSends: false }), null);
  assert.equal(key('Enter', { ctrlKey: true }, { enterSends: false }), 'send');
  assert.equal(key('ArrowUp'), null);
  assert.equal(key('ArrowUp', {}, { empty: true }), 'edit last');
  assert.equal(key('Escape'), 'cancel');
});

test('names', () => {
  assert.deepEqual(['Anna', 'tom.becker', '林小雨', 'a_b_c', '👩‍👩‍👧 family', ''].map(initials), ['A', 'TB', '林', 'AC', '👩‍👩‍👧F', '?']);
  assert.ok(initials(`e${'\u0301'.repeat(1000)}`).length <= 12);
  assert.equal(colour('u:anna'), colour('u:anna'));
});

test('both languages have all texts, with the same gaps', () => {
  const gaps = (text) => [...text.matchAll(/\{\w+\}/g)].map(([gap]) => gap).sort();
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  for (const [key, text] of Object.entries(en)) assert.deepEqual(gaps(zh[key]), gaps(text), key);
});

test('every text that the client asks for is there, and none is left over', async () => {
  const top = new URL('../../../imserver/web/', import.meta.url);
  let source = '';
  for (const folder of ['state', 'view', 'text', 'i18n']) {
    for (const name of await readdir(new URL(folder, top))) {
      if (name.endsWith('.js') && !['en.js', 'zh.js'].includes(name)) source += await readFile(new URL(`${folder}/${name}`, top), 'utf8');
    }
  }
  const used = new Set([...source.matchAll(/\bt\('(\w+)'/g)].map(([, key]) => key));
  for (const key of used) assert.ok(key in en, `t('${key}') has no text`);
  for (const key of Object.keys(en)) {
    const known = used.has(key) || source.includes(`'${key}'`) || /^code_|_one$/.test(key);
    assert.ok(known, `${key} is not used`);
  }
});

test('languages, plurals, days', () => {
  chooseLanguage(null, ['fr', 'zh-TW', 'en']);
  assert.equal(language(), 'zh-CN');
  assert.equal(t('members', { n: 1 }), '1 人');
  chooseLanguage('en', ['zh']);
  assert.equal(t('members', { n: 1 }), '1 person');
  assert.equal(t('members', { n: 2 }), '2 people');
  assert.equal(reason(new Refused('forbidden', 'x')), en.code_forbidden);
  assert.equal(reason(new Refused('conflict', 'x')), en.code_other);
  const noon = new Date(2026, 5, 10, 12).getTime();
  const lateBefore = new Date(2026, 5, 9, 23, 59).getTime();
  assert.equal(dayName(noon, noon), 'Today');
  assert.equal(dayName(lateBefore, noon), 'Yesterday'); // by the calendar here, not by 24 hours
});
