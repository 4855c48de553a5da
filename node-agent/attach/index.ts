export { DeviceManager, type DeviceManagerOptions } from './device.js';
export { type DeviceSupport, deviceSupport } from './support.js';
