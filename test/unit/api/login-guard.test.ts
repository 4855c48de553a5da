import { describe, expect, it } from 'vitest';
import { ADDRESS_LIMITS, LoginGuard, NAME_LIMITS, TooManyAttempts } from '../../../node-agent/api/login-guard.js';

function setUp(nodes = 1) {
  let now = 1000;
  const guard = new LoginGuard({ now: () => now, nodes: () => nodes });
  /** How many of `count` failures in a row are let through. */
  const fail = (count: number, name: string | ((i: number) => string), address: string | ((i: number) => string)) => {
    let passed = 0;
    for (let i = 0; i < count; i++) {
      try {
        guard.admit(typeof name === 'string' ? name : name(i), typeof address === 'string' ? address : address(i));
        passed++;
      } catch (error) {
        expect(error).toBeInstanceOf(TooManyAttempts);
      }
    }
    return passed;
  };
  return { guard, fail, pass: (ms: number) => (now += ms) };
}

const everyAddress = (i: number) => `10.0.${i >> 8}.${i & 255}`;
const everyName = (i: number) => `user-${i}`;

describe('guessing', () => {
  it('for one name is limited, from however many addresses it comes', () => {
    const { fail, pass } = setUp();
    expect(fail(1000, 'eva', everyAddress)).toBe(NAME_LIMITS.burst);
    pass(NAME_LIMITS.intervalMs * 3);
    expect(fail(1000, 'eva', everyAddress)).toBe(3);
    expect(fail(1, 'adam', everyAddress)).toBe(1);
  });

  it('from one address is limited, for however many names', () => {
    const { fail, pass } = setUp();
    expect(fail(1000, everyName, '10.0.0.1')).toBe(ADDRESS_LIMITS.burst);
    pass(ADDRESS_LIMITS.intervalMs);
    expect(fail(1000, everyName, '10.0.0.1')).toBe(1);
    expect(fail(1, everyName, '10.0.0.2')).toBe(1);
  });

  it('a day of it tries fewer than 3,000 passwords of a user', () => {
    const { fail, pass } = setUp();
    let passed = 0;
    for (let minute = 0; minute < 24 * 60; minute++) {
      passed += fail(10, 'eva', everyAddress);
      pass(60_000);
    }
    expect(passed).toBeLessThan(3000);
  });

  it('by asking several nodes in turn gains nothing', () => {
    const [a, b, c] = [setUp(3), setUp(3), setUp(3)];
    const passed = [a, b, c].map(({ fail }) => fail(1000, 'eva', everyAddress));
    expect(passed.reduce((sum, each) => sum + each, 0)).toBe(NAME_LIMITS.burst);
  });

  it('says how long to wait, and is then let through once', () => {
    const { guard, fail, pass } = setUp();
    fail(1000, 'eva', everyAddress);
    let waitSeconds = 0;
    try {
      guard.admit('eva', '10.0.0.1');
    } catch (error) {
      waitSeconds = (error as TooManyAttempts).retryAfterSeconds;
    }
    expect(waitSeconds).toBe(NAME_LIMITS.intervalMs / 1000);
    pass(waitSeconds * 1000);
    expect(fail(2, 'eva', '10.0.0.9')).toBe(1);
  });
});

describe('who has the right password', () => {
  it('is never slowed down', () => {
    const { guard } = setUp();
    for (let i = 0; i < 1000; i++) guard.admit('eva', '10.0.0.1').succeeded();
    for (let i = 0; i < 1000; i++) guard.admit('eva', '10.0.0.1').abandoned();
  });

  it('cannot be locked out from where they log in', () => {
    const { guard, fail, pass } = setUp();
    guard.admit('eva', '10.9.9.9').succeeded();
    fail(1000, 'eva', everyAddress);
    expect(() => guard.admit('eva', '10.8.8.8')).toThrow(TooManyAttempts);
    guard.admit('eva', '10.9.9.9').succeeded();
    // Somebody else behind the same address.
    fail(1000, everyName, '10.9.9.9');
    guard.admit('eva', '10.9.9.9').succeeded();
    pass(25 * 3_600_000);
    fail(1000, 'eva', everyAddress);
    expect(() => guard.admit('eva', '10.9.9.9')).toThrow(TooManyAttempts);
  });
});

it('guessing from where the user logs in is limited too', () => {
  const { guard, fail } = setUp();
  guard.admit('eva', '10.9.9.9').succeeded();
  expect(fail(1000, 'eva', '10.9.9.9')).toBe(NAME_LIMITS.burst);
  guard.admit('eva', '10.0.0.1').succeeded();
});

describe('addresses', () => {
  it.each([
    ['2001:db8::1', '2001:db8::ffff:ffff:ffff:ffff'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['fe80::1%eth0', 'fe80::2'],
  ])('%s and %s are one', (first, second) => {
    const { fail } = setUp();
    fail(1000, everyName, first);
    expect(fail(1, everyName, second)).toBe(0);
  });

  it.each([
    ['2001:db8:1:2::', '2001:db8:1:3::'],
    ['10.0.0.1', '10.0.0.2'],
  ])('%s and %s are two', (first, second) => {
    const { fail } = setUp();
    fail(1000, everyName, first);
    expect(fail(1, everyName, second)).toBe(1);
  });

  it('that are not known count as one', () => {
    const { guard } = setUp();
    for (let i = 0; i < ADDRESS_LIMITS.burst; i++) guard.admit(everyName(i), undefined);
    expect(() => guard.admit('eva', undefined)).toThrow(TooManyAttempts);
  });
});
