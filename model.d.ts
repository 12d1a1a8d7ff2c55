// Made by tinygrad_nn.
export interface Model {
  readonly memory: WebAssembly.Memory;
  readonly arguments: readonly string[];
  readonly results: readonly string[];
  readonly state: readonly string[];
  get(name: string): ArrayLike<number>;
  set(name: string, values: number | ArrayLike<number>): void;
  run(...values: ArrayLike<number>[]): Record<string, ArrayLike<number>>;
}
export function load(source?: BufferSource | WebAssembly.Module): Promise<Model>;
