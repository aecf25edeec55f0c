# The cluster's programs, for login shells; man finds its pages next to them.
case ":$PATH:" in
    *:/opt/ha/sbin:*) ;;
    *) PATH=/opt/ha/sbin:/opt/ha/bin:$PATH ;;
esac
export PATH
