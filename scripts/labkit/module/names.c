// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
// By what names the lab's module is found.
#include <linux/module.h>

MODULE_DESCRIPTION("WireGuard under AmneziaWG's name, for a lab");
MODULE_LICENSE("GPL");
MODULE_ALIAS("rtnl-link-amneziawg");
MODULE_ALIAS("net-pf-16-proto-16-family-amneziawg");
