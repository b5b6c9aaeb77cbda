-- Database of the wg-easy stand-in: the tables of wg-easy v15 under their own
-- names, with the columns that the stand-in uses.

PRAGMA journal_mode = WAL;
BEGIN;

CREATE TABLE general_table (
  id INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  setup_step INTEGER NOT NULL DEFAULT 1
);
INSERT INTO general_table DEFAULT VALUES;

CREATE TABLE users_table (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  username TEXT NOT NULL UNIQUE,
  password TEXT NOT NULL,
  enabled INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE interfaces_table (
  name TEXT PRIMARY KEY,
  device TEXT NOT NULL DEFAULT 'eth0',
  port INTEGER NOT NULL DEFAULT 51820,
  private_key TEXT NOT NULL DEFAULT '---default---',
  public_key TEXT NOT NULL DEFAULT '---default---',
  ipv4_cidr TEXT NOT NULL DEFAULT '10.8.0.0/24',
  ipv6_cidr TEXT NOT NULL DEFAULT 'fdcc:ad94:bacf:61a4::cafe:0/112',
  mtu INTEGER NOT NULL DEFAULT 1420,
  j_c INTEGER NOT NULL DEFAULT 7,
  j_min INTEGER NOT NULL DEFAULT 10,
  j_max INTEGER NOT NULL DEFAULT 1000,
  s1 INTEGER NOT NULL DEFAULT 128,
  s2 INTEGER NOT NULL DEFAULT 56,
  h1 TEXT NOT NULL DEFAULT '0',
  h2 TEXT NOT NULL DEFAULT '0',
  h3 TEXT NOT NULL DEFAULT '0',
  h4 TEXT NOT NULL DEFAULT '0'
);
INSERT INTO interfaces_table (name) VALUES ('wg0');

CREATE TABLE user_configs_table (
  id TEXT PRIMARY KEY,
  default_dns TEXT NOT NULL DEFAULT '["1.1.1.1","2606:4700:4700::1111"]',
  default_allowed_ips TEXT NOT NULL DEFAULT '["0.0.0.0/0","::/0"]',
  host TEXT NOT NULL DEFAULT '',
  port INTEGER NOT NULL DEFAULT 51820
);
INSERT INTO user_configs_table (id) VALUES ('wg0');

CREATE TABLE clients_table (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  ipv4_address TEXT NOT NULL UNIQUE,
  private_key TEXT NOT NULL,
  public_key TEXT NOT NULL,
  pre_shared_key TEXT NOT NULL,
  enabled INTEGER NOT NULL DEFAULT 1
);

COMMIT;
