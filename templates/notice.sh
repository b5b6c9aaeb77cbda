# Written by awg-install. After a restart, one line for root until `awg-install status` was run.
# Only root can read the line; nothing is started for it.
case $- in
*i*)
	if [ -r {{ notice }} ]; then
		awg_install_notice=
		{ IFS= read -r awg_install_notice < {{ notice }}; } 2> /dev/null || :
		[ -z "$awg_install_notice" ] || printf '%s\n' "$awg_install_notice"
		unset awg_install_notice
	fi
	;;
esac
