/**
 * Texts in the reader's language, and times as people there write them.
 * @module
 */

import en from './en.js';
import zh from './zh.js';

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, {tag: string, texts: Record<string, string>}>} */
export const LANGUAGES = {
  en: { tag: 'en', texts: en },
  zh: { tag: 'zh-CN', texts: zh },
};

let current = LANGUAGES.en;
let locale = 'en';
/** @type {Intl.PluralRules} */
let plurals = new Intl.PluralRules('en');
/** @type {Record<string, Intl.DateTimeFormat>} */
let formats = {};

/**
 * Choose a language: `en`, `zh`, or what the browser prefers.
 * @param {string | null} choice
 * @param {readonly string[]} preferred
 */
export function chooseLanguage(choice, preferred) {
  const wanted = choice ? [choice] : preferred;
  const found = wanted.map((tag) => tag.toLowerCase().split('-')[0]).find((name) => name in LANGUAGES);
  current = LANGUAGES[found ?? 'en'];
  // Times as the reader's region writes them, if it is one of this language.
  locale = preferred.find((tag) => tag.toLowerCase().startsWith(found ?? 'en')) ?? current.tag;
  plurals = new Intl.PluralRules(current.tag);
  formats = {};
}

/** The language of the page, for its `lang`. */
export function language() {
  return current.tag;
}

/**
 * A text. `{name}` is filled from `values`; `n` chooses between one and many.
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const one = typeof values.n === 'number' && plurals.select(values.n) === 'one' ? `${key}_one` : key;
  const text = current.texts[one] ?? current.texts[key] ?? en[key];
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/**
 * A sentence for an error's code.
 * @param {unknown} error
 */
export function reason(error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'other';
  return `code_${code}` in en ? t(/** @type {Key} */ (`code_${code}`)) : t('code_other');
}

/**
 * @param {string} name
 * @param {Intl.DateTimeFormatOptions} options
 */
function format(name, options) {
  formats[name] ??= new Intl.DateTimeFormat(locale, options);
  return formats[name];
}

/** The time of day. @param {number} at */
export function timeOfDay(at) {
  return format('time', { hour: 'numeric', minute: '2-digit' }).format(at);
}

/** Day and time in full. @param {number} at */
export function fullTime(at) {
  return format('full', { dateStyle: 'full', timeStyle: 'short' }).format(at);
}

/**
 * A day: today, yesterday, its name within a week, else its date.
 * @param {number} at
 * @param {number} now
 */
export function dayName(at, now) {
  const days = daysBetween(at, now);
  if (days === 0) return t('today');
  if (days === 1) return t('yesterday');
  if (days > 1 && days < 7) return format('weekday', { weekday: 'long' }).format(at);
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  if (sameYear) return format('day', { weekday: 'short', day: 'numeric', month: 'long' }).format(at);
  return format('date', { dateStyle: 'long' }).format(at);
}

/**
 * When, in little room: the time today, else the day.
 * @param {number} at
 * @param {number} now
 */
export function shortTime(at, now) {
  const days = daysBetween(at, now);
  if (days <= 0) return timeOfDay(at);
  if (days === 1) return t('yesterday');
  if (days < 7) return format('short', { weekday: 'short' }).format(at);
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  if (sameYear) return format('shortday', { day: 'numeric', month: 'short' }).format(at);
  return format('shortdate', { dateStyle: 'short' }).format(at);
}

/** Calendar days from one time to another, here. @param {number} at @param {number} now */
function daysBetween(at, now) {
  const [from, to] = [new Date(at), new Date(now)];
  const utc = (/** @type {Date} */ day) => Date.UTC(day.getFullYear(), day.getMonth(), day.getDate());
  return Math.round((utc(to) - utc(from)) / 86_400_000);
}
