/**
 * Preferences, and signing out.
 * @module
 */

import { t } from '../i18n/texts.js';
import { changePassword, devices } from './account.js';
import { el } from './dom.js';
import { dialog, sure } from './fields.js';

/**
 * @param {object} options
 * @param {import('../state/session.js').Session} options.session
 * @param {import('../state/engine.js').Engine} options.engine
 * @param {boolean} options.sendsWait
 * @param {() => void} options.changed
 * @param {() => void} options.signOut
 */
export function preferences({ session, engine, sendsWait, changed, signOut }) {
  const now = session.preferences;
  /** @param {Partial<import('../state/session.js').Preferences>} values */
  const prefer = (values) => {
    session.prefer(values);
    changed();
  };
  /**
   * @param {string} label
   * @param {[string, string][]} options value and text
   * @param {string} value
   * @param {(value: string) => void} choose
   */
  const choice = (label, options, value, choose) => {
    const select = el('select', {}, ...options.map(([name, text]) => el('option', { value: name, selected: name === value }, text)));
    select.addEventListener('change', () => choose(select.value));
    return el('label', { className: 'field' }, el('span', { className: 'label' }, label), select);
  };
  const leave = async () => {
    const question = t('sign_out_sure') + (sendsWait ? ` ${t('sign_out_waiting')}` : '');
    if (!(await sure(question, t('sign_out')))) return;
    box.close();
    signOut();
  };
  const box = dialog(t('preferences'), el('div', { className: 'form' },
    choice(t('language'), [['', t('language_auto')], ['en', 'English'], ['zh', '简体中文']], now.language ?? '', (value) => {
      box.close();
      prefer({ language: value || null });
    }),
    choice(t('theme'), [['auto', t('theme_auto')], ['light', t('light')], ['dark', t('dark')]], now.theme,
      (value) => prefer({ theme: /** @type {'auto'} */ (value) })),
    choice(t('enter_key'), [['send', t('enter_sends')], ['break', t('enter_breaks')]], now.enterSends ? 'send' : 'break',
      (value) => prefer({ enterSends: value === 'send' })),
    notifications(now.notify, (notify) => prefer({ notify })),
    session.identity?.token && el('div', { className: 'buttons' },
      el('button', { type: 'button', className: 'plain-button', onclick: () => changePassword(engine) }, t('change_password')),
      el('button', { type: 'button', className: 'plain-button', onclick: () => devices(engine) }, t('devices'))),
    el('div', { className: 'buttons' }, el('button', { type: 'button', className: 'danger', onclick: leave }, t('sign_out')))));
}

/** @param {boolean} on @param {(on: boolean) => void} choose */
function notifications(on, choose) {
  const possible = 'Notification' in window && isSecureContext;
  const denied = possible && Notification.permission === 'denied';
  const box = el('input', { type: 'checkbox', checked: on && possible && !denied, disabled: !possible || denied });
  box.addEventListener('change', async () => {
    if (box.checked && Notification.permission !== 'granted') {
      box.checked = (await Notification.requestPermission()) === 'granted';
    }
    choose(box.checked);
  });
  const hint = !possible ? t('no_script_tls') : denied ? t('notify_denied') : '';
  return el('div', { className: 'field' }, el('label', { className: 'check' }, box, el('span', {}, t('notifications'))),
    hint && el('span', { className: 'hint' }, hint));
}
