//! The admin page over https: what is made for it, what proves it, and what it costs nobody when it fails.

mod support;

use awg_install::host::files::sha256;
use support::tree::LEFT_BY_ROLLBACK;
use support::{CONFIG, PASSWORD_FILE, Root};

const SERVER: &str =
    "server:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n  web: https\n";
const CERTIFICATE: &str = "/opt/wg-easy/caddy/data/caddy/certificate";
const CADDYFILE: &str = "/opt/wg-easy/Caddyfile";

fn config(https: &str) -> String {
    format!("mode: userspace\n{SERVER}{https}")
}

fn root(https: &str) -> Root {
    Root::prepared(&[], &config(https))
}

fn compose(root: &Root) -> serde_json::Value {
    serde_yaml::from_str(&root.read("/opt/wg-easy/compose.yaml")).expect("YAML")
}

#[test]
fn a_page_with_a_certificate() {
    let root = root("  https: {email: admin@example.org}\n");
    root.run(&["plan", "--config", CONFIG]).expect(0).says("opens tcp 443 and 80 for everybody");
    root.install()
        .expect(0)
        .says("page answers over https (302), certificate by Played Authority")
        .says("Admin page: https://vpn.example.org/");
    let services = &compose(&root)["services"];
    let (server, caddy) = (&services["wg-easy"], &services["caddy"]);
    assert_eq!(server["ports"], serde_json::json!(["51820:51820/udp"]), "the server publishes its tunnel only");
    assert_eq!(caddy["ports"], serde_json::json!(["443:443/tcp", "80:80/tcp"]));
    assert_eq!(caddy["cap_drop"], serde_json::json!(["ALL"]));
    assert_eq!(caddy["cap_add"], serde_json::json!(["NET_BIND_SERVICE"]));
    assert_eq!(caddy["read_only"], true);
    assert!(caddy.get("privileged").is_none());
    assert_eq!(caddy["networks"]["wg"]["ipv4_address"], "10.42.42.43");
    let rules = root.read("/opt/wg-easy/firewall.sh");
    for port in [443, 80] {
        let rule = format!("-d 10.42.42.43/32 -p tcp -m tcp --dport {port} -j ACCEPT");
        assert!(rules.contains(&rule), "a firewall that closes all else: {rule} in {rules}");
    }
    let image = caddy["image"].as_str().unwrap();
    assert!(image.starts_with("caddy@sha256:2"), "by digest: {image}");
    assert!(root.read("/opt/wg-easy/wg-easy.env").contains("INSECURE='false'"), "a login needs https");
    let text = root.read(CADDYFILE);
    for line in ["email \"admin@example.org\"", "\"https://vpn.example.org:443\" {", "reverse_proxy \"wg-easy:51821\""]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("acme_ca") && !text.contains("tls internal"), "{text}");
    for (path, mode) in [(CADDYFILE, 0o644), ("/opt/wg-easy/caddy/data", 0o700), ("/opt/wg-easy/caddy/config", 0o700)] {
        assert_eq!(root.mode(path), mode, "{path}");
    }
    root.install().expect(0).says("nothing to do");
    root.run(&["status"]).expect(0).says("Drift:     none");
    root.run(&["doctor"]).expect(0).says("ok   https: page answers over https");
}

#[test]
fn the_certificate_outlives_the_container() {
    let root = root("");
    root.install().expect(0);
    let certificate = root.read(CERTIFICATE);
    let before = compose(&root)["services"]["caddy"]["labels"].clone();
    root.run(&["install", "--unattended", "--server-https-email", "admin@example.org"])
        .expect(0)
        .says("create the container");
    assert_ne!(compose(&root)["services"]["caddy"]["labels"], before, "another configuration, another container");
    assert_eq!(root.read(CERTIFICATE), certificate);
    root.reboot();
    root.run(&["status", "--detailed-exitcode"]).expect(0).says("Drift:     none");
}

#[test]
fn without_a_certificate_the_tunnel_works() {
    let mut root = root("");
    root.set("FAKE_ACME", "HTTP 400 urn:ietf:params:acme:error:dns - DNS problem: NXDOMAIN looking up A");
    root.install()
        .expect(6)
        .says("https://vpn.example.org/ does not work yet: Caddy has no certificate yet")
        .says("NXDOMAIN looking up A")
        .says("the name has no address in DNS")
        .says("The tunnel works meanwhile");
    let receipt = root.json("/var/lib/awg-install/receipt.json");
    assert_eq!((&receipt["mode"], &receipt["ruled_out"]), (&"userspace".into(), &serde_json::json!([])));
    root.run(&["status"]).expect(6).says("Container: healthy, wg0 is tun");
    root.run(&["doctor"]).expect(10).says("FAIL https").says("ok   container");
    // Once the name is there, what is left is the proof alone, and Caddy asks at once.
    root.unset("FAKE_ACME");
    root.forget_commands();
    root.install().expect(0).says("[1/1] prove that https://vpn.example.org/ answers");
    assert!(root.commands().iter().any(|c| c == "docker restart wg-easy-caddy"), "{:?}", root.commands());
    root.run(&["status"]).expect(0).says("Drift:     none");
}

#[test]
fn the_page_is_proven_after_all() {
    let mut root = root("");
    root.set("FAKE_UNHEALTHY", "tun");
    root.install().expect(6);
    // The container has come to itself meanwhile; what was never reached is still to be done.
    root.unset("FAKE_UNHEALTHY");
    root.write("/var/lib/docker/containers/wg-easy/health", "healthy\n");
    root.install().expect(0).says("prove that https://vpn.example.org/ answers");
}

#[test]
fn a_failed_page_leaves_the_kernel_mode_alone() {
    let kernel = format!("{SERVER}module:\n  source: file\n  path: /root/amneziawg.ko\n");
    let mut root = Root::prepared(&[], &kernel);
    root.set("FAKE_ACME", "urn:ietf:params:acme:error:rateLimited");
    root.install().expect(0);
    root.run(&["resume"]).expect(6).says("too many certificates");
    let receipt = root.json("/var/lib/awg-install/receipt.json");
    assert_eq!((&receipt["mode"], &receipt["ruled_out"]), (&"kernel".into(), &serde_json::json!([])));
    assert!(!root.exists("/etc/init.d/awg-install"), "what only the reboot needed is gone all the same");
}

#[test]
fn pages_that_are_not_the_one() {
    for (page, acme, said) in [
        (r#"{"status":502,"issuer":"A","named":true,"trusted":true}"#, "", "answers with status 502"),
        (r#"{"status":200,"issuer":"A","named":false,"trusted":true}"#, "", "is for another name"),
        (r#"{"status":200,"issuer":"A","named":true,"trusted":false}"#, "", "which is no public authority"),
    ] {
        let mut root = root(acme);
        root.set("FAKE_PAGE", page);
        root.install().expect(6).says(said);
    }
    // An authority of the operator's own need not be known here.
    let mut own = root("  https: {acme_directory: \"https://ca.example.org/acme/directory\"}\n");
    own.set("FAKE_PAGE", r#"{"status":200,"issuer":"Own CA","named":true,"trusted":false}"#);
    own.install().expect(0).says("certificate by Own CA, which this program does not know");
    assert!(own.read(CADDYFILE).contains("acme_ca \"https://ca.example.org/acme/directory\""));
}

#[test]
fn an_address_has_an_authority_of_its_own() {
    for (address, site) in [("203.0.113.5", "https://203.0.113.5"), ("2001:db8::5", "https://[2001:db8::5]")] {
        let root = root("");
        root.write(CONFIG, &config("").replace("vpn.example.org", address));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
        root.write("/.fakeroot/own-root.crt", &certificate.pem());
        let digits = sha256(certificate.der()).to_uppercase();
        let print: Vec<&str> = digits.as_bytes().chunks(2).map(|p| std::str::from_utf8(p).unwrap()).collect();
        root.run(&["plan", "--config", CONFIG]).expect(0).says("browsers warn");
        root.install().expect(0).says(&format!("Admin page: {site}/\n")).says(&print.join(":"));
        let text = root.read(CADDYFILE);
        assert!(text.contains("\ttls internal\n") && text.contains(&format!("default_sni \"{address}\"")), "{text}");
    }
}

#[test]
fn other_ports() {
    for (ports, site, published, challenge) in [
        ("{port: 8443}", "8443", ["8443:8443/tcp", "80:80/tcp"], "disable_tlsalpn_challenge"),
        ("{http_port: 8080}", "443", ["443:443/tcp", "8080:80/tcp"], "disable_http_challenge"),
    ] {
        let root = root(&format!("  https: {ports}\n"));
        root.install().expect(0);
        let text = root.read(CADDYFILE);
        assert!(text.contains(&format!("\"https://vpn.example.org:{site}\" {{")) && text.contains(challenge), "{text}");
        assert_eq!(compose(&root)["services"]["caddy"]["ports"], serde_json::json!(published));
    }
}

#[test]
fn ports_and_files_are_looked_at_before_anything_changes() {
    let taken = |root: &Root, port: u16| {
        let row = format!("0: 00000000:{port:04X} 00000000:0000 0A 0:0 00:0 0     0        0 21034 2 0 0");
        root.write("/proc/net/tcp", &format!("header\n{row}\n"));
    };
    let ignored = ["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];
    for (port, said) in [(443, "server.https.port 443 is taken"), (80, "server.https.http_port 80 is taken")] {
        let root = root("");
        taken(&root, port);
        let before = root.tree().without(&ignored);
        root.install().expect(4).says(said).says("set server.https.");
        before.assert_same(&root.tree().without(&ignored), "a refused run");
    }
    let acme = "  https: {acme_directory: \"https://ca.example.org/d\", acme_root: /root/ca.pem}\n";
    let root = root(acme);
    let before = root.tree().without(&ignored);
    root.install().expect(4).says("server.https.acme_root /root/ca.pem").says("cannot be read");
    before.assert_same(&root.tree().without(&ignored), "a refused run");
    root.write("/root/ca.pem", "not a certificate\n");
    root.install().expect(4).says("server.https.acme_root /root/ca.pem").says("no BEGIN CERTIFICATE");
    let key = rcgen::KeyPair::generate().unwrap();
    root.write("/root/ca.pem", &rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem());
    root.install().expect(0);
    let mount = &compose(&root)["services"]["caddy"]["volumes"][1];
    assert_eq!((&mount["source"], &mount["read_only"]), (&"/root/ca.pem".into(), &true.into()));
    // Another root: Caddy has to read it.
    root.write(
        "/root/ca.pem",
        &rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem().replace('\n', "\n "),
    );
    root.run(&["status", "--detailed-exitcode"]).expect(10);
}

#[test]
fn from_one_kind_of_page_to_another() {
    let root = root("");
    root.write(CONFIG, &config("").replace("web: https", "web: local"));
    root.install().expect(0).says("ssh -L");
    assert!(!root.exists(CADDYFILE) && !root.commands().iter().any(|c| c.contains("caddy")));
    root.run(&["install", "--unattended", "--server-web", "https"])
        .expect(0)
        .says("Admin page: https://vpn.example.org/");
    root.run(&["install", "--unattended", "--server-web", "local"]).expect(0).says("ssh -L");
    assert!(!root.exists("/var/lib/docker/containers/wg-easy-caddy"), "nothing is left that serves the page");
    assert!(root.exists(CERTIFICATE), "for when it is opened again");
}

#[test]
fn rollback_keeps_the_certificate_unless_data_is_purged() {
    let root = root("");
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0);
    let copy = root.copy();
    root.run(&["rollback"]).expect(0);
    assert!(root.exists(CERTIFICATE) && !root.exists(CADDYFILE));
    copy.run(&["rollback", "--purge-data"]).expect(0);
    before.assert_same(&copy.tree().without(LEFT_BY_ROLLBACK), "rolled back");
}

#[test]
fn settings_that_do_not_fit() {
    for (from, to, said) in [
        ("  host: vpn.example.org\n", "", "https needs server.host"),
        ("vpn.example.org", "vpn.internal", "no public authority gives a certificate for"),
        ("vpn.example.org", "vpn", "no public authority gives a certificate for"),
        ("web: https\n", "web: https\n  https: {port: 80}\n", "is both the page's port"),
        ("web: https\n", "web: https\n  https: {port: 8443, http_port: 8080}\n", "no authority asks there"),
        ("web: https\n", "web: https\n  https: {acme_root: /root/ca.pem}\n", "has no server.https.acme_directory"),
        ("web: https\n", "web: https\n  https: {acme_directory: \"http://ca.example.org/d\"}\n", "use https"),
        (
            "web: https\n",
            "web: https\n  https: {acme_directory: \"https://ca.example.org/{$X}\"}\n",
            "server.https.acme_directory",
        ),
        ("web: https\n", "web: https\n  https: {email: \"a b@example.org\"}\n", "server.https.email"),
        ("web: https\n", "web: https\n  https: {image: \"Caddy:2\"}\n", "server.https.image"),
        ("mode: userspace\n", "mode: userspace\ncontainer: {privilege: documented}\n", "accept_privileged"),
    ] {
        let root = Root::bare(&[]);
        root.write(PASSWORD_FILE, "long enough to pass\n");
        root.write(CONFIG, &config("").replace(from, to));
        root.install().expect(3).says(said);
    }
    let root = root("  https: {email: admin@example.org}\n");
    root.write(CONFIG, &root.read(CONFIG).replace("vpn.example.org", "203.0.113.5"));
    root.install().expect(3).says("is for a DNS name, but server.host is the address 203.0.113.5");
    // With consent it is called what it is.
    root.write(CONFIG, &config("container: {privilege: documented, accept_privileged: true}\n"));
    root.run(&["plan", "--config", CONFIG])
        .expect(0)
        .says("whoever has the admin page's password, from anywhere, is root on this host");
}

#[test]
fn a_container_of_somebody_elses_is_left_alone() {
    let root = root("");
    root.install().expect(0);
    root.write("/var/lib/docker/containers/wg-easy-caddy/revision", "\n");
    root.run(&["install", "--unattended"]).expect(4).says("wg-easy-caddy exists that this program did not make");
}
