/**
 * Where messages are written. Grows with its text; drafts are kept at every key.
 * @module
 */

import { t } from '../i18n/texts.js';
import { Composition, meaning } from '../text/keys.js';
import { el, iconButton } from './dom.js';

/**
 * @param {object} options
 * @param {string} options.draft
 * @param {() => boolean} options.enterSends
 * @param {(text: string) => void} options.send
 * @param {(text: string) => void} options.keep a draft
 */
export function composer({ draft, enterSends, send, keep }) {
  const input = el('textarea', {
    rows: 1, placeholder: t('type_message'), 'aria-label': t('type_message'), dir: 'auto', value: draft, enterKeyHint: 'send',
  });
  const button = iconButton('send', t('send'), () => submit(), { className: 'icon-button send', type: 'submit' });
  const element = el('form', { className: 'composer' }, input, button);
  const composition = new Composition();
  composition.watch(input);

  const grow = () => {
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight}px`;
    button.disabled = input.value.trim() === '';
  };

  const submit = () => {
    const text = input.value.replace(/^\n+|\s+$/g, '');
    if (!text.trim()) return;
    input.value = '';
    keep('');
    grow();
    send(text);
    input.focus();
  };

  element.addEventListener('submit', (event) => {
    event.preventDefault();
  });
  input.addEventListener('keydown', (event) => {
    if (composition.takes(event)) return;
    if (meaning(event, { enterSends: enterSends(), empty: input.value === '' }) !== 'send') return;
    event.preventDefault();
    submit();
  });
  input.addEventListener('input', () => {
    grow();
    keep(input.value);
  });
  requestAnimationFrame(grow);
  new ResizeObserver(grow).observe(element);
  return { element, input, focus: () => input.focus() };
}
