// What becomes of a line before it leaves the machine: it is taken apart, and secrets are hidden.
// Filebeat's `script` processor runs it; params: prefix, secrets, names, fields.

var KINDS = {
  service: "service", storage: "service", migrate: "service",
  hub: "hub", chp: "proxy", postgres: "database"
};
var PROGRAMS = {service: "dachub", hub: "hub", proxy: "proxy", database: "postgres"};
var KNOWN = {service: 1, hub: 1, proxy: 1, servers: 1, audit: 1, database: 1};
// .../<namespace>_<pod>_<uid>/<container>/0.log
var PLACE = /\/([^\/_]+)_([^\/_]+)_[^\/_]+\/([^\/]+)\/[^\/]+$/;
var PROXY = /^(\S+) \[ConfigProxy\] (?:\x1b\[\d+m)?(\w+)(?:\x1b\[\d+m)?: ([\s\S]*)$/;
var REQUEST = /^(\d{3}) ([A-Z]+) (\/[^\s?]*)/;
var POSTGRES = /^\d{4}-\d\d-\d\d [\d:.]+ \w+ \[\d+\] (DEBUG\d?|INFO|LOG|NOTICE|WARNING|ERROR|FATAL|PANIC): /;
var LEVELS = {
  LOG: "info", INFO: "info", NOTICE: "info", WARNING: "warning",
  ERROR: "error", FATAL: "critical", PANIC: "critical", warn: "warning"
};
var DEPTH_MAX = 8;

var prefix, secrets, names, fields;

function register(params) {
  prefix = params.prefix;
  fields = params.fields;
  names = new RegExp(params.names, "i");
  secrets = params.secrets.map(function (pattern) { return new RegExp(pattern, "gi"); });
}

function process(event) {
  try {
    ship(event);
  } catch (error) {
    conceal(event, error);
  }
}

// What could not be looked through does not leave as it is.
function conceal(event, error) {
  Object.keys(event.Get()).forEach(function (name) {
    if (name !== "@timestamp" && name !== "@metadata") event.Delete(name);
  });
  event.Put("message", "a line was left out: the pipeline failed at it");
  event.Put("error.message", String(error).slice(0, 200).replace(/[^ A-Za-z.:()]/g, "?"));
  event.Put("log.level", "error");
  event.Put("event.dataset", "dachub.hub");
  event.Put("@metadata.target", prefix + "-hub");
}

function ship(event) {
  var place = PLACE.exec(event.Get("log.file.path") || "");
  var kind = place && KINDS[place[3]];
  if (!kind) {
    event.Cancel();
    return;
  }
  event.Put("orchestrator.namespace", place[1]);
  event.Put("orchestrator.resource.name", place[2]);
  event.Put("container.name", place[3]);
  straighten(event);
  if (!event.Get("log.level")) read(event, kind);
  var level = String(event.Get("log.level")).toLowerCase();
  if (level.indexOf("debug") === 0) {
    event.Cancel();
    return;
  }
  event.Put("log.level", level);
  // A line says itself where it belongs, if its program can know: never what is not of ours.
  var said = String(event.Get("event.dataset") || "").split(".")[1];
  if (KNOWN[said] && (kind === "service" || kind === "hub")) kind = said;
  event.Put("event.dataset", "dachub." + kind);
  event.Put("@metadata.target", prefix + "-" + kind);
  if (kind === "audit" && event.Get("event.id")) {
    event.Put("@metadata._id", "audit-" + event.Get("event.id"));
  }
  hide(event);
}

// A field of another form than the index has would cost the whole line: it becomes text, or goes.
function straighten(event) {
  fields.forEach(function (field) {
    var name = field.split(" ")[0];
    var parts = name.split(".");
    for (var depth = 1; depth < parts.length; depth++) {
      var above = parts.slice(0, depth).join(".");
      var outer = event.Get(above);
      if (outer !== null && outer !== undefined && !isObject(outer)) event.Delete(above);
    }
    if (name === "@timestamp") return;
    var value = event.Get(name);
    if (value === null || value === undefined) return;
    if (field.split(" ")[1] === "long") {
      if (typeof value !== "number" || !isFinite(value)) event.Delete(name);
    } else if (typeof value !== "string") {
      event.Put(name, isObject(value) || Array.isArray(value) ? JSON.stringify(value) : String(value));
    }
  });
  if (!event.Get("message")) event.Put("message", "-");
}

function isObject(value) {
  return typeof value === "object" && !Array.isArray(value);
}

// A line of text: what it says of itself.
function read(event, kind) {
  var message = String(event.Get("message"));
  var level = "info";
  var found;
  if (kind === "proxy" && (found = PROXY.exec(message))) {
    level = LEVELS[found[2]] || found[2];
    event.Put("@timestamp", new Date(found[1]));
    event.Put("message", found[3]);
    if ((found = REQUEST.exec(found[3]))) {
      event.Put("http.response.status_code", parseInt(found[1], 10));
      event.Put("http.request.method", found[2]);
      event.Put("url.path", found[3]);
    }
  } else if (kind === "database" && (found = POSTGRES.exec(message))) {
    level = LEVELS[found[1]] || "debug";
  } else if (message.indexOf("Traceback (most recent call last)") !== -1) {
    level = "error";
    event.Put("error.stack_trace", message);
    event.Put("message", message.trim().split("\n").pop());
  }
  event.Put("log.level", level);
  event.Put("service.name", PROGRAMS[kind]);
}

function hide(event) {
  var all = event.Get();
  Object.keys(all).forEach(function (name) {
    if (name !== "@timestamp" && name !== "@metadata") event.Put(name, hidden(name, all[name], 0));
  });
}

function hidden(name, value, depth) {
  if (value === null || value === undefined || depth > DEPTH_MAX) return null;
  if (Array.isArray(value)) {
    return value.map(function (one) { return hidden(name, one, depth + 1); });
  }
  if (typeof value === "object") {
    var copy = {};
    Object.keys(value).forEach(function (inner) { copy[inner] = hidden(inner, value[inner], depth + 1); });
    return copy;
  }
  if (names.test(name)) return "[hidden]";
  if (typeof value !== "string") return value;
  secrets.forEach(function (secret) { value = value.replace(secret, "$1[hidden]"); });
  return value;
}
