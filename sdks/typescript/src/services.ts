import type { Call, CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type {
  ServiceList,
  ServicePlan,
  ServiceRef,
  ServiceRemoved,
  ServiceSwitched,
  ServiceTest,
  ServicesCleared,
  ServicesReplaced,
  ServicesSet,
  VersionedService,
} from "./models.js";
import {
  readServiceList,
  readServicePlan,
  readServiceRef,
  readServiceRemoved,
  readServiceSwitched,
  readServiceTest,
  readServicesCleared,
  readServicesReplaced,
  readServicesSet,
  readVersionedService,
} from "./readers.js";
import { at, list } from "./read.js";
import type { Service } from "./service.js";

/** What a write to the list rests on. If that has changed since: `VersionConflictError`, and nothing is written. */
export interface ListConditions extends CallOptions {
  /** `revision` of the list that was read, or of the write before. */
  ifRevision?: number | undefined;
}

export interface SetConditions extends ListConditions {
  /** By name the version of each service that the write rests on; `null`: there is none of that name. */
  expected?: Record<string, string | null> | undefined;
}

/** What a write to one service rests on. If that has changed since: `VersionConflictError`, and nothing is written. */
export interface ServiceConditions extends CallOptions {
  /** `version` of the service that was read. */
  ifVersion?: string | undefined;
}

/** A request that nobody sends. */
export interface TestRequest {
  /** `https://host[:port]/path?query`; without a scheme, https. */
  url: string;
  /** Name of the agent that would ask. */
  agent?: string | undefined;
  /** Fields that it would send; they matter where a placeholder chooses the account. */
  headers?: Record<string, string> | undefined;
}

/** The writes, as calls. */
class Writes {
  readonly path: string;

  constructor(vault: string) {
    this.path = `/v1/vaults/${segment(vault, "a vault")}/services`;
  }

  one(reference: string): string {
    return `${this.path}/${segment(reference, "a service")}`;
  }

  set(services: Service[], given: SetConditions): Call {
    return { ...this.#list(given), method: "POST", body: { services, expected: given.expected } };
  }

  replaceAll(services: Service[], given: SetConditions): Call {
    return { ...this.#list(given), method: "PUT", body: { services, expected: given.expected } };
  }

  clear(given: ListConditions): Call {
    return { ...this.#list(given), method: "DELETE" };
  }

  setEnabled(reference: string, enabled: boolean, given: ServiceConditions): Call {
    return { ...this.#single(reference, given), method: "PATCH", body: { enabled } };
  }

  remove(reference: string, given: ServiceConditions): Call {
    return { ...this.#single(reference, given), method: "DELETE" };
  }

  #list({ ifRevision, signal }: ListConditions): Omit<Call, "method"> {
    return { path: this.path, headers: match(ifRevision), etag: "revision", signal };
  }

  #single(reference: string, { ifVersion, signal }: ServiceConditions): Omit<Call, "method"> {
    return { path: this.one(reference), headers: match(ifVersion), etag: "revision", signal };
  }
}

function match(tag: string | number | undefined): Record<string, string> {
  return tag === undefined ? {} : { "if-match": `"${tag}"` };
}

/** The same writes, of which only the outcome is told: `changes` has each service before and after. Nothing is written. */
export class ServicesDryRun {
  readonly #http: HttpClient;
  readonly #writes: Writes;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#writes = new Writes(vault);
  }

  async set(services: Service[], given: SetConditions = {}): Promise<ServicePlan> {
    return this.#plan(this.#writes.set(services, given));
  }

  async replaceAll(services: Service[], given: SetConditions = {}): Promise<ServicePlan> {
    return this.#plan(this.#writes.replaceAll(services, given));
  }

  async setEnabled(reference: string, enabled: boolean, given: ServiceConditions = {}): Promise<ServicePlan> {
    return this.#plan(this.#writes.setEnabled(reference, enabled, given));
  }

  async remove(reference: string, given: ServiceConditions = {}): Promise<ServicePlan> {
    return this.#plan(this.#writes.remove(reference, given));
  }

  async clear(given: ListConditions = {}): Promise<ServicePlan> {
    return this.#plan(this.#writes.clear(given));
  }

  #plan({ etag: _, ...call }: Call): Promise<ServicePlan> {
    return this.#http.json({ ...call, query: { dry_run: true } }, readServicePlan);
  }
}

/** Services of a vault. */
export class ServicesResource {
  /** What the writes would do. */
  readonly dryRun: ServicesDryRun;
  readonly #http: HttpClient;
  readonly #writes: Writes;
  readonly #vault: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#vault = `/v1/vaults/${segment(vault, "a vault")}`;
    this.#writes = new Writes(vault);
    this.dryRun = new ServicesDryRun(http, vault);
  }

  /** In stored order, with the list's `revision` and the version of each by its name. */
  async list(options: CallOptions = {}): Promise<ServiceList> {
    return this.#http.json({ method: "GET", path: this.#writes.path, signal: options.signal }, readServiceList);
  }

  /** One service, by name or host, with its version. */
  async get(reference: string, options: CallOptions = {}): Promise<VersionedService> {
    return this.#http.json({ method: "GET", path: this.#writes.one(reference), signal: options.signal }, readVersionedService);
  }

  /** Adds services, or replaces those of the same names. */
  async set(services: Service[], given: SetConditions = {}): Promise<ServicesSet> {
    return this.#http.json(this.#writes.set(services, given), readServicesSet);
  }

  /** Makes these the only services. */
  async replaceAll(services: Service[], given: SetConditions = {}): Promise<ServicesReplaced> {
    return this.#http.json(this.#writes.replaceAll(services, given), readServicesReplaced);
  }

  async setEnabled(reference: string, enabled: boolean, given: ServiceConditions = {}): Promise<ServiceSwitched> {
    return this.#http.json(this.#writes.setEnabled(reference, enabled, given), readServiceSwitched);
  }

  /** By host, or by name. Where several share the host: `ConflictError`, with `candidates`. */
  async remove(reference: string, given: ServiceConditions = {}): Promise<ServiceRemoved> {
    return this.#http.json(this.#writes.remove(reference, given), readServiceRemoved);
  }

  async removeByName(name: string, given: ServiceConditions = {}): Promise<ServiceRemoved> {
    return this.remove(name, given);
  }

  /** Removes every service. */
  async clear(given: ListConditions = {}): Promise<ServicesCleared> {
    return this.#http.json(this.#writes.clear(given), readServicesCleared);
  }

  /** Which services use a credential. */
  async credentialUsage(key: string, options: CallOptions = {}): Promise<{ services: ServiceRef[] }> {
    return this.#http.json(
      { method: "GET", path: `${this.#writes.path}/credential-usage`, query: { key }, signal: options.signal },
      (value, path) => ({ services: at("services", list(readServiceRef))(value, path) }),
    );
  }

  /** Tells which service would decide a request, why the others would not, and what would be sent. Nothing is sent. */
  async test(request: TestRequest, options: CallOptions = {}): Promise<ServiceTest> {
    const headers = request.headers && Object.entries(request.headers).map(([name, value]) => ({ name, value }));
    return this.#http.json(
      {
        method: "POST",
        path: `${this.#vault}/service-test`,
        body: { url: request.url, agent: request.agent, headers },
        signal: options.signal,
      },
      readServiceTest,
    );
  }
}
