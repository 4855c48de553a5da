/** The part of WebAssembly's JavaScript API that the codec uses: neither ES2023's types nor Node's have it. */
declare global {
  namespace WebAssembly {
    class Module {
      constructor(bytes: Uint8Array);
    }
    class Memory {
      constructor(pages: { readonly initial: number; readonly maximum: number });
      readonly buffer: ArrayBuffer;
    }
    class Global {
      readonly value: unknown;
    }
    class Instance {
      readonly exports: Readonly<Record<string, unknown>>;
      constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>);
    }
    function compile(bytes: Uint8Array): Promise<Module>;
  }
}

export {};
