/**
 * Coming in: a name in mode `open`, a password in mode `token`.
 * @module
 */

import { reason, t } from '../i18n/texts.js';
import { ClientError, openClient } from '../sdk/imserver.js';
import { Rest } from '../sdk/rest.js';
import { el } from './dom.js';
import { Mistake, field, form } from './fields.js';

/**
 * @param {object} options
 * @param {string} options.url
 * @param {string} options.mode
 * @param {string} options.title
 * @param {string} options.name to begin with
 * @param {string} [options.note] why one is here again
 * @param {(identity: import('../state/session.js').Identity) => void} options.done
 */
export function signIn({ url, mode, title, name, note, done }) {
  const user = field(t('name'), { value: name, name: 'username', autocomplete: 'username', required: true, maxLength: 64 },
    mode === 'open' ? t('name_hint') : undefined);
  const password = field(t('password'), { type: 'password', name: 'password', autocomplete: 'current-password', dir: 'ltr' }, t('not_in_open'));
  const withPassword = mode === 'token';
  /** @param {unknown} error */
  const explain = (error) => (error instanceof Mistake ? error.message : reason(error));
  const card = el('section', { className: 'signin-card' });
  const submit = async () => {
    const userId = user.input.value.trim();
    if (!userId || /[\s\p{C}]/u.test(userId)) {
      user.input.focus();
      throw new Mistake(t('name_invalid'));
    }
    if (withPassword) {
      const issued = await logIn(url, userId, password.input.value);
      if (issued.must_change_password) {
        card.replaceChildren(changeFirst(url, issued, password.input.value, explain, done));
        card.querySelector('input')?.focus();
        return;
      }
      done({ user_id: issued.user_id, token: issued.token });
      return;
    }
    await tryName(url, userId);
    done({ user_id: userId });
  };
  card.append(
    el('h1', { dir: 'auto' }, title),
    el('p', { className: 'quiet' }, note ?? (withPassword ? t('sign_in_hint') : t('name_question'))),
    form({
      fields: withPassword ? [user.box, password.box] : [user.box],
      label: withPassword ? t('sign_in') : t('start'), submit, reason: explain,
    }));
  const element = el('main', { className: 'signin' }, el('div', { className: 'signin-mark', 'aria-hidden': 'true' }), card);
  queueMicrotask(() => user.input.focus());
  return element;
}

/** @param {string} url @param {string} userId @param {string} password */
function logIn(url, userId, password) {
  const rest = new Rest(url, fetch.bind(globalThis));
  return rest.call('password_login', { user_id: userId, password, device: deviceName(), platform: 'web' });
}

function deviceName() {
  const agent = navigator.userAgent;
  const browser = /(Edg|Firefox|Chrome|Safari)\//.exec(agent)?.[1]?.replace('Edg', 'Edge') ?? 'Browser';
  const system = /(Android|iPhone|iPad|Mac OS X|Windows|Linux)/.exec(agent)?.[1] ?? '';
  return [browser, system].filter(Boolean).join(', ');
}

/**
 * A password for one login has to be replaced.
 * @param {string} url
 * @param {{user_id: string, token: string}} issued
 * @param {string} old
 * @param {(error: unknown) => string} explain
 * @param {(identity: import('../state/session.js').Identity) => void} done
 */
function changeFirst(url, issued, old, explain, done) {
  const fresh = field(t('new_password'), { type: 'password', autocomplete: 'new-password', dir: 'ltr', minLength: 8 }, t('new_password_hint'));
  return form({
    fields: [fresh.box], label: t('save'), reason: explain,
    submit: async () => {
      const rest = new Rest(url, fetch.bind(globalThis));
      rest.identity = issued;
      await rest.call('change_password', { old_password: old, new_password: fresh.input.value });
      done({ user_id: issued.user_id, token: issued.token });
    },
  });
}

/**
 * Whether the server takes a name. Where it cannot be reached, it is taken for good.
 * @param {string} url
 * @param {string} userId
 * @returns {Promise<void>}
 */
async function tryName(url, userId) {
  await new Promise((resolve, reject) => {
    openClient({
      url, login: { user_id: userId }, start: 'now',
      onstate: ({ status, error }) => {
        if (status === 'refused') reject(error ?? new ClientError('refused', 'other'));
        else if (status !== 'connecting') resolve(null);
      },
    }).then((client) => setTimeout(() => client.close(), 1500));
  });
}
