// A clock that can be stepped for every object of the Worker at once, its alarms included.
const realNow = Date.now.bind(Date);
let offsetMs = 0;
/** For when an object's alarm was asked for last, by the stepped clock. */
const asked = new WeakMap<DurableObjectStorage, number>();

/** Lets the clock differ by so much from the machine's, from now on. */
export function stepClock(byMs: number): void {
  offsetMs = byMs;
}

Date.now = () => realNow() + offsetMs;

/** Alarms are the platform's, by its own clock: what is asked for by the stepped one is moved. */
export function stepAlarms(storage: DurableObjectStorage): void {
  const prototype = Object.getPrototypeOf(storage) as {
    setAlarm: DurableObjectStorage["setAlarm"] & { stepped?: true };
  };
  const { setAlarm } = prototype;
  if (setAlarm.stepped) return;
  prototype.setAlarm = function (this: DurableObjectStorage, time: number | Date, options) {
    asked.set(this, Number(time));
    return setAlarm.call(this, Number(time) - offsetMs, options);
  };
  prototype.setAlarm.stepped = true;
}

/** After a step: the alarm rings when the stepped clock says so. */
export function alarmAgain(storage: DurableObjectStorage): void {
  const time = asked.get(storage);
  if (time !== undefined) storage.setAlarm(time);
}
